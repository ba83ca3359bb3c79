// Characteristic-function sums and their gradient over one block of adjacent columns.
//
// Included by cos_sin.cpp once per instruction set, with
//   ISA     the namespace to define everything in,
//   TARGET  the function attribute that switches the instruction set on,
//   BYTES   the width of a vector: a block has BYTES / sizeof(T) columns, one per lane.
//
// With a = step x, the harmonics e^{i j a}, j = 1 .. knots - 1, are never all formed. Every j is
// p + q or p - q for a giant step p = 5 g and q in {1, 2}, or is itself such a p or q, and
//
//   sum cos((p -+ q) a) = sum cos pa cos qa +- sum sin pa sin qa
//   sum sin((p +- q) a) = sum sin pa cos qa +- sum cos pa sin qa
//
// so one fused multiply-add per element and harmonic accumulates the products, and the few
// additions that turn products into harmonics come after the sum over samples. The gradient, a
// cosine and sine series in a, is arranged likewise: per giant step, two short series in q.

#undef INLINE
#define INLINE TARGET __attribute__((always_inline)) inline

namespace ISA {

template <class T>
struct Lanes;
template <>
struct Lanes<float> {
    typedef float Value __attribute__((vector_size(BYTES)));
    typedef std::int32_t Bits __attribute__((vector_size(BYTES)));
    typedef double Wide __attribute__((vector_size(2 * BYTES)));
};
template <>
struct Lanes<double> {
    typedef double Value __attribute__((vector_size(BYTES)));
    typedef std::int64_t Bits __attribute__((vector_size(BYTES)));
    typedef double Wide __attribute__((vector_size(BYTES)));
};
template <class T>
using Value = typename Lanes<T>::Value;
template <class T>
using Wide = typename Lanes<T>::Wide;

template <class T>
constexpr int lanes = BYTES / sizeof(T);

// Rows of an array are pages apart, which no processor fetches unasked: ask so many rows ahead.
constexpr int ahead = 16;

template <class T>
INLINE Value<T> load(const T* from) {
    Value<T> v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
}

template <class T>
INLINE void store(T* to, Value<T> v) {
    __builtin_memcpy(to, &v, sizeof v);
}

// Has a sign bit in every lane that is small enough for `sin_cos`; NaN and infinity are not.
template <class T>
INLINE typename Lanes<T>::Bits small(Value<T> x, T largest) {
    typename Lanes<T>::Bits bits = (typename Lanes<T>::Bits)x, limit;
    Value<T> limits = Value<T>{} + largest;
    limit = (typename Lanes<T>::Bits)limits;
    return (bits & Constants<T>::all_but_sign) - limit;
}

template <class T>
INLINE bool all(typename Lanes<T>::Bits sign_bits) {
    for (int l = 0; l < lanes<T>; ++l)
        if (sign_bits[l] >= 0) return false;
    return true;
}

// a - r is the multiple of pi nearest to a = step x (Cody and Waite); sin and cos of a are those of
// r, with the opposite sign for odd multiples.
template <class T>
INLINE void sin_cos(Value<T> x, const Step<T>& step, Value<T>& sine, Value<T>& cosine) {
    using C = Constants<T>;
    typedef typename Lanes<T>::Bits Bits;
    Value<T> shifted = x * step.over_pi + C::round;
    Value<T> turns = shifted - C::round;
    Bits flip = (Bits)shifted << (int)(8 * sizeof(T) - 1);
    Value<T> r = x * step.high - turns * C::pi_high;
    r = r + x * step.low;
    r = r - turns * C::pi_middle;
    if (sizeof(T) == sizeof(double)) r = r - turns * C::pi_low;
    Value<T> z = r * r;
    Value<T> s = z * C::sine[C::sine_terms - 1] + C::sine[C::sine_terms - 2];
    for (int i = C::sine_terms - 3; i >= 0; --i) s = s * z + C::sine[i];
    Value<T> c = z * C::cosine[C::cosine_terms - 1] + C::cosine[C::cosine_terms - 2];
    for (int i = C::cosine_terms - 3; i >= 0; --i) c = c * z + C::cosine[i];
    s = s * (r * z) + r;
    c = c * z + T(1);
    sine = (Value<T>)((Bits)s ^ flip);
    cosine = (Value<T>)((Bits)c ^ flip);
}

// cos and sin of a, 2a and 5a from those of a; written with sines, cos 2a = 1 - 2 sin^2 a, because
// that keeps full accuracy near a = 0, where collapsed embeddings are.
template <class T>
struct Harmonics {
    Value<T> c1, s1, c2, s2, c5, s5;
    INLINE explicit Harmonics(Value<T> x, const Step<T>& step) {
        sin_cos<T>(x, step, s1, c1);
        Value<T> twice_s1 = s1 + s1;
        c2 = T(1) - twice_s1 * s1;
        s2 = twice_s1 * c1;
        Value<T> c3 = c1 - twice_s1 * s2, s3 = s1 + twice_s1 * c2;
        Value<T> twice_s2 = s2 + s2;
        c5 = c1 - twice_s2 * s3;
        s5 = s1 + twice_s2 * c3;
    }
};

// Rows of one tile: `values` holds c1 s1 c2 s2 and then c s of every giant step, a row after the other.
template <class T>
INLINE bool tile_values(const T* x, long stride, int rows, int giants, const Step<T>& step,
                        Value<T>* values) {
    typename Lanes<T>::Bits in_range = ~typename Lanes<T>::Bits{};
    for (int i = 0; i < rows; ++i) {
        __builtin_prefetch(x + (i + ahead) * stride);
        Value<T> now = load<T>(x + i * stride);
        in_range &= small<T>(now, step.largest);
        Harmonics<T> h(now, step);
        *values++ = h.c1;
        *values++ = h.s1;
        *values++ = h.c2;
        *values++ = h.s2;
        Value<T> twice_s5 = h.s5 + h.s5, c_before = Value<T>{} + T(1), s_before = Value<T>{};
        Value<T> c = h.c5, s = h.s5;
        for (int g = 0; g < giants; ++g) {
            *values++ = c;
            *values++ = s;
            Value<T> c_next = c_before - twice_s5 * s, s_next = s_before + twice_s5 * c;
            c_before = c, s_before = s, c = c_next, s = s_next;
        }
    }
    return all<T>(in_range);
}

template <class T>
INLINE void add(Wide<T>& total, Value<T> partial) {
    total += __builtin_convertvector(partial, Wide<T>);
}

// Adds the sums over one tile to `totals`: c1 s1 c2 s2, then per giant step c s and eight products.
template <class T>
INLINE void tile_sums(const Value<T>* values, int rows, int giants, Wide<T>* totals) {
    const int per_row = 4 + 2 * giants;
    {
        Value<T> c1{}, s1{}, c2{}, s2{};
        const Value<T>* v = values;
        for (int i = 0; i < rows; ++i, v += per_row) c1 += v[0], s1 += v[1], c2 += v[2], s2 += v[3];
        add<T>(totals[0], c1), add<T>(totals[1], s1), add<T>(totals[2], c2), add<T>(totals[3], s2);
    }
    for (int g = 0; g < giants; ++g) {
        Value<T> cosines{}, sines{}, cc1{}, ss1{}, sc1{}, cs1{}, cc2{}, ss2{}, sc2{}, cs2{};
        const Value<T>* v = values;
        for (int i = 0; i < rows; ++i, v += per_row) {
            Value<T> c = v[4 + 2 * g], s = v[5 + 2 * g];
            cosines += c, sines += s;
            cc1 += c * v[0], ss1 += s * v[1], sc1 += s * v[0], cs1 += c * v[1];
            cc2 += c * v[2], ss2 += s * v[3], sc2 += s * v[2], cs2 += c * v[3];
        }
        Wide<T>* t = totals + 4 + 10 * g;
        add<T>(t[0], cosines), add<T>(t[1], sines);
        add<T>(t[2], cc1), add<T>(t[3], ss1), add<T>(t[4], sc1), add<T>(t[5], cs1);
        add<T>(t[6], cc2), add<T>(t[7], ss2), add<T>(t[8], sc2), add<T>(t[9], cs2);
    }
}

template <class T>
INLINE void sums_of_columns(int giants, const Problem<T>& problem, long first_sample,
                            long first_column, T* cosines, T* sines) {
    typedef Tile<T, lanes<T>> Columns;
    Scratch<Wide<T>> totals(4 + 10 * giants);
    Scratch<Value<T>> values(Columns::rows * (4 + 2 * giants));
    Columns tile(problem, first_sample, first_column);
    while (tile.next()) {
        if (!tile_values<T>(tile.x, tile.stride, tile.height, giants, problem.step, values.data))
            tile_values<T>(tile.tamed(), lanes<T>, tile.height, giants, problem.step, values.data);
        tile_sums<T>(values.data, tile.height, giants, totals.data);
    }
    write_sums<T, lanes<T>>(reinterpret_cast<const double*>(totals.data), problem.n, tile.width,
                            problem.knots, cosines, sines);
}

// Loops over the three giant steps of 17 knots, the usual number, are unrolled.
template <class T>
TARGET void sums_of_columns(const Problem<T>& problem, long first_sample, long first_column,
                            T* cosines, T* sines) {
    const int giants = giants_of(problem.knots);
    if (giants == 3)
        sums_of_columns<T>(3, problem, first_sample, first_column, cosines, sines);
    else
        sums_of_columns<T>(giants, problem, first_sample, first_column, cosines, sines);
}

template <class T>
INLINE bool tile_gradient(const T* x, long stride, int rows, int giants, const Step<T>& step,
                          const Value<T>* coefficients, T* out, long out_stride) {
    typename Lanes<T>::Bits in_range = ~typename Lanes<T>::Bits{};
    for (int i = 0; i < rows; ++i) {
        __builtin_prefetch(x + (i + ahead) * stride);
        Value<T> now = load<T>(x + i * stride);
        in_range &= small<T>(now, step.largest);
        Harmonics<T> h(now, step);
        const Value<T>* k = coefficients;
        Value<T> sum = k[0] * h.c1 + k[1] * h.s1;
        Value<T> other = k[2] * h.c2 + k[3] * h.s2;
        Value<T> twice_s5 = h.s5 + h.s5, c_before = Value<T>{} + T(1), s_before = Value<T>{};
        Value<T> c = h.c5, s = h.s5;
        k += 4;
        for (int g = 0; g < giants; ++g, k += 10) {
            Value<T> with_c = k[0] + k[1] * h.c1 + k[2] * h.s1 + k[3] * h.c2 + k[4] * h.s2;
            Value<T> with_s = k[5] + k[6] * h.c1 + k[7] * h.s1 + k[8] * h.c2 + k[9] * h.s2;
            sum += c * with_c;
            other += s * with_s;
            Value<T> c_next = c_before - twice_s5 * s, s_next = s_before + twice_s5 * c;
            c_before = c, s_before = s, c = c_next, s = s_next;
        }
        __builtin_prefetch(out + (i + ahead) * out_stride, 1);
        store<T>(out + i * out_stride, sum + other);
    }
    return all<T>(in_range);
}

template <class T>
INLINE void gradient_of_columns(int giants, const Problem<T>& problem, long first_sample,
                                long first_column, const T* grad_cos, const T* grad_sin, T* out) {
    typedef Tile<T, lanes<T>> Columns;
    Scratch<Value<T>> coefficients(4 + 10 * giants);
    Columns tile(problem, first_sample, first_column);
    gradient_coefficients<T, lanes<T>>(grad_cos, grad_sin, tile.width, problem.knots,
                                       problem.step_size, reinterpret_cast<T*>(coefficients.data));
    while (tile.next()) {
        T* to = tile.out(out);
        const long to_stride = tile.out_stride();
        if (!tile_gradient<T>(tile.x, tile.stride, tile.height, giants, problem.step,
                              coefficients.data, to, to_stride))
            tile_gradient<T>(tile.tamed(), lanes<T>, tile.height, giants, problem.step,
                             coefficients.data, to, to_stride);
        tile.finish(out);
    }
}

template <class T>
TARGET void gradient_of_columns(const Problem<T>& problem, long first_sample, long first_column,
                                const T* grad_cos, const T* grad_sin, T* out) {
    const int giants = giants_of(problem.knots);
    if (giants == 3)
        gradient_of_columns<T>(3, problem, first_sample, first_column, grad_cos, grad_sin, out);
    else
        gradient_of_columns<T>(giants, problem, first_sample, first_column, grad_cos, grad_sin,
                               out);
}

}  // namespace ISA
