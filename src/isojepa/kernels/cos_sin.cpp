// Sums of cosines and sines over samples, per column and knot, and their gradient, on the CPU.
//
// A plain C interface, called through ctypes: neither Python nor torch headers are needed, so any
// compiler with GNU vector extensions (gcc, clang) builds it in seconds. cos_sin_tile.h holds the
// arithmetic; this file holds memory, threads and the choice of instruction set.
//
// One unit of work is one block of adjacent columns with all of its samples, summed in a fixed
// order: the result does not depend on the number of threads.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "threads.h"

namespace {

// Giant steps p = 5, 10, .. so that p + 2 reaches the last harmonic, knots - 1.
inline int giants_of(int knots) { return (knots + 1) / 5; }

template <class T>
struct Constants;

// Minimax polynomials on |r| <= pi / 2, in z = r^2: (sin r / r - 1) / z and (cos r - 1) / z, with
// errors of 2e-8 and 9e-10. pi_high has few bits, so that turns * pi_high is exact.
template <>
struct Constants<float> {
    static constexpr float round = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
    static constexpr float pi_high = 3.140625f, pi_middle = 9.67653589793238e-4f, pi_low = 0;
    static constexpr double largest_angle = 16384;
    static constexpr std::int32_t all_but_sign = 0x7fffffff;
    static constexpr int sine_terms = 4, cosine_terms = 5;
    static constexpr float sine[] = {-0.166666659632631614f, 0.00833324208093210648f,
                                     -0.000198227321806931182f, 2.6347327186387518e-6f};
    static constexpr float cosine[] = {-0.499999999639172042f, 0.041666659354226758f,
                                       -0.00138886515064091026f, 0.0000247745690972569082f,
                                       -2.62972709641964016e-7f};
};

// As above, with errors below 2e-17.
template <>
struct Constants<double> {
    static constexpr double round = 6755399441055744.0;  // 1.5 * 2^52
    static constexpr double pi_high = 3.14159250259399414062, pi_middle = 1.50995788317231926704e-7,
                            pi_low = 1.07806057163162381e-14;
    static constexpr double largest_angle = 1 << 26;
    static constexpr std::int64_t all_but_sign = 0x7fffffffffffffff;
    static constexpr int sine_terms = 8, cosine_terms = 8;
    static constexpr double sine[] = {-0.166666666666666666,  0.00833333333333331584,
                                      -0.00019841269841254956, 2.75573192191584306e-6,
                                      -2.50521076163845953e-8, 1.60589772728155061e-10,
                                      -7.64396903105276904e-13, 2.73142898612261585e-15};
    static constexpr double cosine[] = {-0.499999999999999994,  0.0416666666666663352,
                                        -0.0013888888888860676, 0.0000248015872924371131,
                                        -2.75573177661618797e-7, 2.08766307923102542e-9,
                                        -1.14646874878459094e-11, 4.62764608954363448e-14};
};

template <class T>
struct Step {
    T high, low, over_pi, largest;
    explicit Step(double step)
        : high(T(step)),
          low(T(step - high)),
          over_pi(T(step / M_PI)),
          largest(T(Constants<T>::largest_angle / std::fabs(step))) {}
};

template <class T>
struct Problem {
    const T* x;  // (batches, n, m), contiguous
    long batches, n, m;
    int knots;
    double step_size;
    Step<T> step;
};

// Zeroed memory, aligned for the widest vectors.
template <class V>
struct Scratch {
    V* data;
    explicit Scratch(std::size_t count) {
        const std::size_t bytes = (count * sizeof(V) + 127) / 128 * 128;
        if (posix_memalign(reinterpret_cast<void**>(&data), 128, bytes)) throw std::bad_alloc();
        std::memset(static_cast<void*>(data), 0, bytes);
    }
    ~Scratch() { std::free(data); }
    Scratch(const Scratch&) = delete;
};

// Walks down a block of W columns, `rows` samples at a time. A block at the right edge, which is
// narrower than W, and numbers too large for sin_cos go through a buffer.
template <class T, int W>
struct Tile {
    static constexpr int rows = 32;
    const T* x = nullptr;  // `height` rows of W numbers, `stride` apart
    long stride = 0;
    int height = 0, width;

    Tile(const Problem<T>& problem, long first_sample, long first_column)
        : width(int(problem.m - first_column < W ? problem.m - first_column : W)),
          problem_(problem),
          origin_(first_sample * problem.m + first_column) {}

    bool next() {
        done_ += height;
        const long left = problem_.n - done_;
        if (left <= 0) return false;
        height = int(left < rows ? left : rows);
        x = problem_.x + offset(), stride = problem_.m;
        if (width < W) {
            for (int i = 0; i < height; ++i)
                for (int l = 0; l < width; ++l) buffer_[i * W + l] = x[i * stride + l];
            x = buffer_, stride = W;
        }
        return true;
    }

    // The same tile, each number that is large for the range reduction less whole periods.
    const T* tamed() {
        const double period = 2 * M_PI / problem_.step_size;
        for (int i = 0; i < height; ++i)
            for (int l = 0; l < W; ++l) {
                const T value = x[i * stride + l];
                const bool small = std::fabs(value) < problem_.step.largest;
                buffer_[i * W + l] = small ? value : T(std::remainder(double(value), period));
            }
        return buffer_;
    }

    // Where the tile's results go; `finish` puts them in place.
    T* out(T* whole) { return width < W ? out_ : whole + offset(); }
    long out_stride() const { return width < W ? W : problem_.m; }
    void finish(T* whole) {
        if (width == W) return;
        for (int i = 0; i < height; ++i)
            std::memcpy(whole + offset() + i * problem_.m, out_ + i * W, width * sizeof(T));
    }

   private:
    long offset() const { return origin_ + done_ * problem_.m; }
    const Problem<T>& problem_;
    const long origin_;
    long done_ = 0;
    alignas(64) T buffer_[rows * W] = {}, out_[rows * W];
};

// From products to harmonics. `totals` has one row of W lanes per quantity, in the order of
// `tile_sums`; `cosines` and `sines` one row of `knots` numbers per column.
template <class T, int W>
void write_sums(const double* totals, long samples, int columns, int knots, T* cosines, T* sines) {
    for (int l = 0; l < columns; ++l, cosines += knots, sines += knots) {
        auto total = [&](int i) { return totals[i * W + l]; };
        auto put = [&](int j, double c, double s) {
            if (j < knots) cosines[j] = T(c), sines[j] = T(s);
        };
        const double nan_if_nan = 0 * total(1);
        put(0, samples + nan_if_nan, nan_if_nan);
        put(1, total(0), total(1));
        put(2, total(2), total(3));
        for (int g = 0; g < giants_of(knots); ++g) {
            const int p = 5 * (g + 1), i = 4 + 10 * g;
            put(p, total(i), total(i + 1));
            for (int q = 1; q <= 2; ++q) {
                const double cc = total(i + 4 * q - 2), ss = total(i + 4 * q - 1);
                const double sc = total(i + 4 * q), cs = total(i + 4 * q + 1);
                put(p - q, cc + ss, sc - cs);
                put(p + q, cc - ss, sc + cs);
            }
        }
    }
}

// The gradient is sum_j P_j sin ja + Q_j cos ja, P_j = -t_j grad_cos_j, Q_j = t_j grad_sin_j, which
// is Q_1 c1 + P_1 s1 + Q_2 c2 + P_2 s2 and, per giant step p,
//   cos pa (Q_p + sum_q (Q_{p-q} + Q_{p+q}) cos qa + (P_{p+q} - P_{p-q}) sin qa)
// + sin pa (P_p + sum_q (P_{p+q} + P_{p-q}) cos qa + (Q_{p-q} - Q_{p+q}) sin qa).
// `coefficients` has one row of W lanes for each, in this order.
template <class T, int W>
void gradient_coefficients(const T* grad_cos, const T* grad_sin, int columns, int knots,
                           double step, T* coefficients) {
    for (int l = 0; l < columns; ++l, grad_cos += knots, grad_sin += knots) {
        auto P = [&](int j) { return j < knots ? -step * j * grad_cos[j] : 0.0; };
        auto Q = [&](int j) { return j < knots ? step * j * grad_sin[j] : 0.0; };
        auto put = [&](int i, double value) { coefficients[i * W + l] = T(value); };
        put(0, Q(1)), put(1, P(1)), put(2, Q(2)), put(3, P(2));
        for (int g = 0; g < giants_of(knots); ++g) {
            const int p = 5 * (g + 1), i = 4 + 10 * g;
            put(i, Q(p)), put(i + 5, P(p));
            for (int q = 1; q <= 2; ++q) {
                put(i + 2 * q - 1, Q(p - q) + Q(p + q)), put(i + 2 * q, P(p + q) - P(p - q));
                put(i + 2 * q + 4, P(p + q) + P(p - q)), put(i + 2 * q + 5, Q(p - q) - Q(p + q));
            }
        }
    }
}

}  // namespace

#if defined(__x86_64__)
#define ISA baseline
#define TARGET
#define BYTES 16
#include "cos_sin_tile.h"
#undef ISA
#undef TARGET
#undef BYTES
#define ISA avx2
#define TARGET __attribute__((target("avx2,fma")))
#define BYTES 32
#include "cos_sin_tile.h"
#undef ISA
#undef TARGET
#undef BYTES
#define ISA avx512
#define TARGET __attribute__((target("avx512f,avx512dq,avx512vl,avx2,fma")))
#define BYTES 64
#include "cos_sin_tile.h"
#else
#define ISA baseline
#define TARGET
#define BYTES 32
#include "cos_sin_tile.h"
#endif

namespace {

using isojepa::Parallel;
using isojepa::for_each_unit;

template <class T>
struct Kernel {
    int width;
    void (*sums)(const Problem<T>&, long, long, T*, T*);
    void (*gradient)(const Problem<T>&, long, long, const T*, const T*, T*);
};

#define KERNEL(isa) \
    Kernel<T> { isa::lanes<T>, isa::sums_of_columns<T>, isa::gradient_of_columns<T> }

template <class T>
Kernel<T> fastest() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) return KERNEL(avx512);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return KERNEL(avx2);
#endif
    return KERNEL(baseline);
}

// Calls block(first sample, first column, first column's row in a (batches, m, knots) array).
template <class T, class Block>
void for_each_block(const Problem<T>& p, int width, int threads, Parallel parallel, Block block) {
    const long per_batch = (p.m + width - 1) / width;
    for_each_unit(p.batches * per_batch, threads, parallel, [&](long unit) {
        const long batch = unit / per_batch, column = unit % per_batch * width;
        block(batch * p.n, column, (batch * p.m + column) * p.knots);
    });
}

template <class T>
void sums(const T* x, long batches, long n, long m, int knots, double step, T* cosines, T* sines,
          int threads, Parallel parallel) {
    const Kernel<T> kernel = fastest<T>();
    const Problem<T> p{x, batches, n, m, knots, step, Step<T>(step)};
    for_each_block(p, kernel.width, threads, parallel, [&](long sample, long column, long row) {
        kernel.sums(p, sample, column, cosines + row, sines + row);
    });
}

template <class T>
void gradient(const T* x, long batches, long n, long m, int knots, double step, const T* grad_cos,
              const T* grad_sin, T* out, int threads, Parallel parallel) {
    const Kernel<T> kernel = fastest<T>();
    const Problem<T> p{x, batches, n, m, knots, step, Step<T>(step)};
    for_each_block(p, kernel.width, threads, parallel, [&](long sample, long column, long row) {
        kernel.gradient(p, sample, column, grad_cos + row, grad_sin + row, out);
    });
}

}  // namespace

#define EXPORT(T, suffix)                                                                         \
    extern "C" void isojepa_sums_##suffix(const T* x, long batches, long n, long m, int knots,   \
                                          double step, T* cosines, T* sines, int threads,        \
                                          Parallel parallel) {                                   \
        sums(x, batches, n, m, knots, step, cosines, sines, threads, parallel);                  \
    }                                                                                            \
    extern "C" void isojepa_gradient_##suffix(const T* x, long batches, long n, long m, int knots, \
                                              double step, const T* grad_cos, const T* grad_sin, \
                                              T* out, int threads, Parallel parallel) {          \
        gradient(x, batches, n, m, knots, step, grad_cos, grad_sin, out, threads, parallel);     \
    }

EXPORT(float, float32)
EXPORT(double, float64)

// Raised with every change of the functions above, so that a stale library is not called.
extern "C" int isojepa_cos_sin_version() { return 1; }
