// Views of images, on the CPU: what rendering.py says in matrices, by the few numbers of each
// matrix that are not zero.
//
// A plain C interface, called through ctypes. One unit of work is one view of one image, made in a
// fixed order: the result does not depend on the number of threads.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "../../../kernels/threads.h"

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define EACH_TARGET __attribute__((target_clones("avx512f", "avx2,fma", "default")))
#else
#define EACH_TARGET
#endif

namespace {

using isojepa::Parallel;
using isojepa::for_each_unit;

// How one view is made, in the order of `_packed` in compiled.py.
struct Parameters {
    float left, top, width, height, flip, angle, shear;
    float gain, pull;  // a channel is multiplied by gain; pull times the mean luma is added
    float sigma;       // in pixels of the view
    float solarise;
    float colours[9];  // 3 x 3, gain included
};

// A matrix of few numbers a row: row t has taps[k][t] at column first[t] + k.
struct Banded {
    int rows, width;
    std::vector<int> first;
    std::vector<float> taps;  // (width, rows)
    int begin, end;           // columns that any row reaches
};

// Cuts [start, start + extent] out of [0, 1] and resizes it by a triangle filter as wide as the
// shrinkage; row r of a flipped one is what row target - 1 - r would be.
std::vector<float> row_of_resampling(float centre, float support, int source, int& first) {
    first = std::max(0, int(std::floor(centre - support - 0.5f)) + 1);
    const int last = std::min(source - 1, int(std::ceil(centre + support - 0.5f)) - 1);
    std::vector<float> row(std::max(1, last - first + 1), 0.f);
    float total = 0;
    for (int x = first; x <= last; ++x) {
        const float weight = 1 - std::fabs(float(x) + 0.5f - centre) / support;
        row[x - first] = weight > 0 ? weight : 0;
        total += row[x - first];
    }
    for (float& weight : row) weight /= total;
    return row;
}

Banded resampling(float start, float extent, bool flip, float sigma, int source, int target) {
    const float support = std::max(extent * float(source) / float(target), 1.f);
    std::vector<std::vector<float>> rows(target);
    std::vector<int> first(target);
    for (int t = 0; t < target; ++t) {
        float position = (float(t) + 0.5f) / float(target);
        if (flip) position = 1 - position;
        rows[t] = row_of_resampling((start + extent * position) * float(source), support, source,
                                    first[t]);
    }
    if (sigma > 0) {  // a Gaussian over the rows, cut where it is below 1e-8 of its peak
        const int radius = std::min(target - 1, int(std::ceil(6.1f * std::max(sigma, 0.01f))));
        const float spread = std::max(sigma * sigma, 1e-4f);
        std::vector<std::vector<float>> blurred(target);
        std::vector<int> from(target);
        for (int t = 0; t < target; ++t) {
            const int low = std::max(0, t - radius), high = std::min(target - 1, t + radius);
            int begin = source, end = 0;
            for (int u = low; u <= high; ++u) {
                begin = std::min(begin, first[u]);
                end = std::max(end, first[u] + int(rows[u].size()));
            }
            std::vector<float> sum(end - begin, 0.f);
            float total = 0;
            for (int u = low; u <= high; ++u) {
                const float weight = std::exp(-0.5f * float((u - t) * (u - t)) / spread);
                total += weight;
                for (std::size_t k = 0; k < rows[u].size(); ++k)
                    sum[first[u] - begin + k] += weight * rows[u][k];
            }
            for (float& weight : sum) weight /= total;
            blurred[t] = std::move(sum);
            from[t] = begin;
        }
        rows.swap(blurred);
        first.swap(from);
    }
    Banded matrix{target, 1, first, {}, source, 0};
    for (int t = 0; t < target; ++t) {
        matrix.width = std::max(matrix.width, int(rows[t].size()));
        matrix.begin = std::min(matrix.begin, first[t]);
        matrix.end = std::max(matrix.end, first[t] + int(rows[t].size()));
    }
    matrix.taps.assign(std::size_t(matrix.width) * target, 0.f);
    for (int t = 0; t < target; ++t)
        for (std::size_t k = 0; k < rows[t].size(); ++k) matrix.taps[k * target + t] = rows[t][k];
    return matrix;
}

// One channel: rows first, each then along its columns.
EACH_TARGET
void resample(const std::uint8_t* image, int side, const Banded& rows, const Banded& columns,
              float* line, float* out) {
    const int begin = columns.begin, reach = columns.end - begin, size = columns.rows;
    const int* first = columns.first.data();
    for (int t = 0; t < rows.rows; ++t) {
        std::fill(line, line + reach + columns.width, 0.f);  // taps of zero may lie beyond
        for (int k = 0; k < rows.width; ++k) {
            const float weight = rows.taps[std::size_t(k) * rows.rows + t] / 255.f;
            if (weight == 0) continue;
            const std::uint8_t* pixels = image + std::size_t(rows.first[t] + k) * side + begin;
            for (int x = 0; x < reach; ++x) line[x] += weight * float(pixels[x]);
        }
        float* made = out + std::size_t(t) * size;
        std::fill(made, made + size, 0.f);
        for (int k = 0; k < columns.width; ++k) {
            const float* taps = columns.taps.data() + std::size_t(k) * size;
            const float* from = line - begin + k;
            for (int j = 0; j < size; ++j) made[j] += taps[j] * from[first[j]];
        }
    }
}

// Rotates and shears about the centre; beyond the border lies the border's colour.
EACH_TARGET
void warp(const float* view, int size, float angle, float shear, float* out) {
    const float cosine = std::cos(angle), sine = std::sin(angle), tangent = std::tan(shear);
    const float xx = cosine, xy = cosine * tangent - sine, yx = sine, yy = sine * tangent + cosine;
    const float largest = float(size - 1), half = 0.5f * float(size);
    for (int i = 0; i < size; ++i) {
        const float y = (2 * float(i) + 1) / float(size) - 1;
        for (int j = 0; j < size; ++j) {
            const float x = (2 * float(j) + 1) / float(size) - 1;
            const float across = (xx * x + xy * y + 1) * half - 0.5f;
            const float down = (yx * x + yy * y + 1) * half - 0.5f;
            const float u = std::min(std::max(across, 0.f), largest);
            const float v = std::min(std::max(down, 0.f), largest);
            const int u0 = int(u), v0 = int(v);
            const int u1 = std::min(u0 + 1, size - 1), v1 = std::min(v0 + 1, size - 1);
            const float du = u - float(u0), dv = v - float(v0);
            const float upper = view[v0 * size + u0] * (1 - du) + view[v0 * size + u1] * du;
            const float lower = view[v1 * size + u0] * (1 - du) + view[v1 * size + u1] * du;
            out[i * size + j] = upper * (1 - dv) + lower * dv;
        }
    }
}

inline float finished(float value, bool solarise, float mean, float scale) {
    value = value > 1 ? 1 : value > 0 ? value : 0;
    if (solarise && value > 0.5f) value = 1 - value;
    return (value - mean) * scale;
}

double mean_of(const float* channel, int pixels) {
    double total = 0;
    for (int i = 0; i < pixels; ++i) total += channel[i];
    return total / pixels;
}

EACH_TARGET
void recolour_rgb(float* view, int pixels, const Parameters& p, float offset, const float* mean,
                  const float* scale) {
    float *red = view, *green = view + pixels, *blue = view + 2 * pixels;
    const float* m = p.colours;
    const bool solarise = p.solarise > 0;
    for (int i = 0; i < pixels; ++i) {
        const float r = red[i], g = green[i], b = blue[i];
        red[i] = finished(m[0] * r + m[1] * g + m[2] * b + offset, solarise, mean[0], scale[0]);
        green[i] = finished(m[3] * r + m[4] * g + m[5] * b + offset, solarise, mean[1], scale[1]);
        blue[i] = finished(m[6] * r + m[7] * g + m[8] * b + offset, solarise, mean[2], scale[2]);
    }
}

EACH_TARGET
void recolour_channel(float* view, int pixels, const Parameters& p, float offset, float mean,
                      float scale) {
    const bool solarise = p.solarise > 0;
    for (int i = 0; i < pixels; ++i)
        view[i] = finished(p.gain * view[i] + offset, solarise, mean, scale);
}

void recolour(float* view, int channels, int pixels, const Parameters& p, const float* mean,
              const float* scale) {
    if (channels == 3) {
        double luma = 0;
        if (p.pull != 0)
            luma = 0.299 * mean_of(view, pixels) + 0.587 * mean_of(view + pixels, pixels) +
                   0.114 * mean_of(view + 2 * pixels, pixels);
        return recolour_rgb(view, pixels, p, p.pull * float(luma), mean, scale);
    }
    const double luma = p.pull != 0 ? mean_of(view, channels * pixels) : 0;
    for (int c = 0; c < channels; ++c)
        recolour_channel(view + std::size_t(c) * pixels, pixels, p, p.pull * float(luma), mean[c],
                         scale[c]);
}

void render(const std::uint8_t* image, int channels, int side, const Parameters& p, int size,
            const float* mean, const float* scale, float* out) {
    const Banded rows = resampling(p.top, p.height, false, p.sigma, side, size);
    const Banded columns = resampling(p.left, p.width, p.flip > 0, p.sigma, side, size);
    const bool warped = p.angle != 0 || p.shear != 0;
    const int pixels = size * size;
    std::vector<float> line(columns.end - columns.begin + 2 * columns.width);
    std::vector<float> flat(warped ? pixels : 0);
    for (int c = 0; c < channels; ++c) {
        float* made = out + std::size_t(c) * pixels;
        resample(image + std::size_t(c) * side * side, side, rows, columns, line.data(),
                 warped ? flat.data() : made);
        if (warped) warp(flat.data(), size, p.angle, p.shear, made);
    }
    recolour(out, channels, pixels, p, mean, scale);
}

}  // namespace

// images (n, channels, side, side), parameters (views, n, 20), out (views, n, channels, size, size);
// mean and scale, which multiplies, per channel.
extern "C" void isojepa_render(const std::uint8_t* images, long n, int channels, int side,
                               const float* parameters, long views, int size, const float* mean,
                               const float* scale, float* out, int threads, Parallel parallel) {
    for_each_unit(views * n, threads, parallel, [&](long unit) {
        Parameters p;
        const float* given = parameters + unit * (sizeof(p) / sizeof(float));
        std::copy(given, given + sizeof(p) / sizeof(float), reinterpret_cast<float*>(&p));
        render(images + std::size_t(unit % n) * channels * side * side, channels, side, p, size,
               mean, scale, out + std::size_t(unit) * channels * size * size);
    });
}

// Raised with every change of the function above, so that a stale library is not called.
extern "C" int isojepa_render_version() { return 1; }
