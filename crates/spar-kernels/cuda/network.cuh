// A network's forward pass over a tile of ROWS rows, by one block.
//
// Activations live in shared memory as [column, ROWS]: the rows of one column
// side by side. Products run on the matrix units, which take numbers of eleven
// significant bits: a number is split into two such, and three products of the
// parts give what single precision gives, up to 2^-21. A warp computes SPAN columns
// of all rows at once; what bounds a block is how fast weights arrive, so each is
// read once, straight into the registers it is needed in, and asked for before it is
// needed. Nothing between layers leaves the block.
#pragma once

#include "common.cuh"

// Where a pass keeps what backward needs; null pointers keep nothing. Per
// hidden layer `l`: its activation and, if the net `keeps_before`, what came
// before that (the normalized value before gain and shift, or what GELU was
// applied to), each [rows, width] from `rows * widths_before(l)` on; of a
// normalized net the inverse standard deviation, [rows] from `rows * l` on.
struct Saved {
    float *activation;
    float *before;
    float *inverse_std;
};

// Parts in which the columns of a row are added up: the same for every ROWS, so
// that what comes of a row does not depend on how many rows are beside it.
constexpr int SLICES = 16;

// Sum over the columns `j` of `term(j, e)` for each row, `e` the element's place
// in a tile [width, ROWS]; thread `t` gets that of row `t % ROWS`. `partial`
// holds ROWS * SLICES floats.
template <int ROWS, class Term>
__device__ __forceinline__ float row_sum(int width, float *partial, Term term)
{
    const int row = threadIdx.x % ROWS;
    if (threadIdx.x < ROWS * SLICES) {
        float part = 0.0f;
        for (int j = threadIdx.x / ROWS; j < width; j += SLICES)
            part += term(j, j * ROWS + row);
        partial[threadIdx.x] = part;
    }
    __syncthreads();
    float sum = 0.0f;
    for (int slice = 0; slice < SLICES; ++slice)
        sum += partial[slice * ROWS + row];
    // Before the next sum overwrites what a slow thread still reads.
    __syncthreads();
    return sum;
}

// Tiles of eight columns that a warp computes side by side, and their columns.
constexpr int TILES = 4;
constexpr int SPAN = 8 * TILES;
constexpr int WARPS = THREADS / WARP;

// Floats a row that the parts of shared sums take at most.
constexpr int PARTS = WARPS * SPAN;

// The lane's place in the tiles of `multiply_tiles`: it holds row, or column,
// `lane / 4` at the steps `lane % 4` and four later.
struct Lane {
    int step;
    int line;
};

__device__ __forceinline__ Lane this_lane()
{
    return {static_cast<int>(threadIdx.x % 4), static_cast<int>(threadIdx.x % WARP / 4)};
}

// The eleven significant bits of `x` that the matrix units take, rounded; what is
// not a number is left to the rest, `x` less this.
__device__ __forceinline__ float leading(float x)
{
    return __uint_as_float((__float_as_uint(x) + 0x1000u) & 0xffffe000u);
}

// Both parts of the numbers of a tile.
template <int COUNT> struct Halves {
    float high[COUNT];
    float low[COUNT];
};

template <int COUNT>
__device__ __forceinline__ Halves<COUNT> halves(const float (&x)[COUNT])
{
    Halves<COUNT> parts;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
        parts.high[i] = leading(x[i]);
        parts.low[i] = x[i] - parts.high[i];
    }
    return parts;
}

// sum += a b to single precision, with `b` the lane's `first` and `second`: the product
// of the low parts is below the rounding.
__device__ __forceinline__ void add_product(float (&sum)[4], const Halves<4> &a, float first,
                                            float second)
{
    const float both[2] = {first, second};
    const Halves<2> b = halves(both);
    multiply_tiles(sum, a.low, b.high);
    multiply_tiles(sum, a.high, b.low);
    multiply_tiles(sum, a.high, b.high);
}

// The rows' numbers of two columns of a tile [width, ROWS], `width` or more being
// zero. Line `i` of the matrix units' sixteen is row 2 i below eight and 2 i - 15 from there
// on, so that a lane's two lie side by side; of eight rows the latter are none.
template <int ROWS>
__device__ __forceinline__ Halves<4> rows_of(const float *x, int width, int first, int second,
                                             int line)
{
    float a[4] = {};
    if constexpr (ROWS == 16) {
        if (first < width) {
            const float2 v = *reinterpret_cast<const float2 *>(x + first * ROWS + 2 * line);
            a[0] = v.x;
            a[1] = v.y;
        }
        if (second < width) {
            const float2 v = *reinterpret_cast<const float2 *>(x + second * ROWS + 2 * line);
            a[2] = v.x;
            a[3] = v.y;
        }
    } else {
        if (first < width)
            a[0] = x[first * ROWS + line];
        if (second < width)
            a[2] = x[second * ROWS + line];
    }
    return halves(a);
}

// How the warps of a block share a layer of `width` columns: each has a span of
// them, in turns if there are more spans than warps; if there are fewer, several
// groups share the sum of a span.
struct Share {
    int spans;
    int groups;
    int group; // at least `groups` for warps without one
    int span;  // the warp's first
};

__device__ __forceinline__ Share share(int width)
{
    const int warp = threadIdx.x / WARP;
    Share share;
    share.spans = (width + SPAN - 1) / SPAN;
    share.groups = share.spans < WARPS ? WARPS / share.spans : 1;
    share.group = share.groups > 1 ? warp / share.spans : 0;
    share.span = share.groups > 1 ? warp % share.spans : warp;
    return share;
}

// Puts a span's sums where they belong: into `y`, [width, ROWS], with `bias`, which may be
// null; or, if groups share them, into their parts, [groups, width, ROWS], for
// add_parts. Column `n` of tile `t` is `column(t, n)`.
template <int ROWS, class Column>
__device__ __forceinline__ void put_sums(const Share &by, int width, const float (&sum)[TILES][4],
                                         const float *__restrict__ bias, float *y, float *parts,
                                         Column column)
{
    const Lane lane = this_lane();
    float *to = by.groups > 1 ? parts + by.group * width * ROWS : y;
#pragma unroll
    for (int t = 0; t < TILES; ++t)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int j = column(t, 2 * lane.step + i);
            if (j >= width)
                continue;
            const float start = bias && by.groups == 1 ? bias[j] : 0.0f;
            if constexpr (ROWS == 16)
                *reinterpret_cast<float2 *>(to + j * ROWS + 2 * lane.line) =
                    float2{sum[t][i] + start, sum[t][i + 2] + start};
            else
                to[j * ROWS + lane.line] = sum[t][i] + start;
        }
}

// y[e] = bias + the groups' parts in order, [width, ROWS], if groups share the sums;
// every thread may then read `y`.
template <int ROWS>
__device__ __forceinline__ void add_parts(const Share &by, int width, const float *parts,
                                          const float *__restrict__ bias, float *y)
{
    __syncthreads();
    if (by.groups == 1)
        return;
    for (int e = threadIdx.x; e < width * ROWS; e += THREADS) {
        float sum = bias ? bias[e / ROWS] : 0.0f;
#pragma unroll 4
        for (int group = 0; group < by.groups; ++group)
            sum += parts[group * width * ROWS + e];
        y[e] = sum;
    }
    __syncthreads();
}

// Four neighbours of `values`, of which `count` there are, the rest zero; in one read if
// TOGETHER, which asks for an address and a count of multiples of four.
template <bool TOGETHER>
__device__ __forceinline__ float4 four(const float *__restrict__ values, int count)
{
    float4 v = {0.0f, 0.0f, 0.0f, 0.0f};
    if constexpr (TOGETHER) {
        if (count > 0)
            v = *reinterpret_cast<const float4 *>(values);
    } else {
        v.x = count > 0 ? values[0] : 0.0f;
        v.y = count > 1 ? values[1] : 0.0f;
        v.z = count > 2 ? values[2] : 0.0f;
        v.w = count > 3 ? values[3] : 0.0f;
    }
    return v;
}

// Whether rows of `width` columns from `values` on can be read four at a time.
__device__ __forceinline__ bool by_fours(const float *values, int width)
{
    return width % 4 == 0 && reinterpret_cast<size_t>(values) % sizeof(float4) == 0;
}

// The sums of `dense`, TOGETHER as in `four`.
template <int ROWS, bool TOGETHER>
__device__ __forceinline__ void dense_sums(const Share &by, const float *__restrict__ weight,
                                           const float *__restrict__ bias, int in, int out,
                                           const float *x, float *y, float *parts)
{
    // Steps of eight inputs whose weights are on their way.
    constexpr int AHEAD = 2;
    const Lane lane = this_lane();
    for (int span = by.span; span < by.spans; span += WARPS) {
        // Column n of tile t is column 4 n + t of the span: a lane's are neighbours.
        const int j = span * SPAN + 4 * lane.line;
        float4 ahead[AHEAD][2];
        const auto ask = [&](int k0) {
#pragma unroll
            for (int s = 0; s < AHEAD; ++s)
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const int k = k0 + s * 8 * by.groups + lane.step + 4 * half;
                    ahead[s][half] = four<TOGETHER>(weight + k * out + j, k < in ? out - j : 0);
                }
        };
        float sum[TILES][4] = {};
        ask(8 * by.group);
        for (int k0 = 8 * by.group; k0 < in; k0 += AHEAD * 8 * by.groups) {
            float4 w[AHEAD][2];
#pragma unroll
            for (int s = 0; s < AHEAD; ++s)
#pragma unroll
                for (int half = 0; half < 2; ++half)
                    w[s][half] = ahead[s][half];
            ask(k0 + AHEAD * 8 * by.groups);
#pragma unroll
            for (int s = 0; s < AHEAD; ++s) {
                const int k = k0 + s * 8 * by.groups + lane.step;
                const Halves<4> a = rows_of<ROWS>(x, in, k, k + 4, lane.line);
                add_product(sum[0], a, w[s][0].x, w[s][1].x);
                add_product(sum[1], a, w[s][0].y, w[s][1].y);
                add_product(sum[2], a, w[s][0].z, w[s][1].z);
                add_product(sum[3], a, w[s][0].w, w[s][1].w);
            }
        }
        put_sums<ROWS>(by, out, sum, bias, y, parts,
                       [=](int t, int n) { return span * SPAN + 4 * n + t; });
    }
}

// y = x W + b for a tile: `x` [in, ROWS], `y` [out, ROWS], `weight` [in, out].
// `parts` is [PARTS, ROWS].
template <int ROWS>
__device__ void dense(const float *__restrict__ weight, const float *__restrict__ bias, int in,
                      int out, const float *x, float *y, float *parts)
{
    const Share by = share(out);
    if (by.group < by.groups) {
        if (by_fours(weight, out))
            dense_sums<ROWS, true>(by, weight, bias, in, out, x, y, parts);
        else
            dense_sums<ROWS, false>(by, weight, bias, in, out, x, y, parts);
    }
    add_parts<ROWS>(by, out, parts, bias, y);
}

// max(v, 0) that lets a NaN through, as PyTorch's does.
__device__ __forceinline__ float relu(float v)
{
    return v < 0.0f ? 0.0f : v;
}

constexpr float GELU_CUBIC = 0.044715f;
constexpr float GELU_SCALE = 0.79788456f; // sqrt(2 / pi)

// x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), as `scalar::gelu` on the CPU.
__device__ __forceinline__ float gelu(float x)
{
    return 0.5f * x * (1.0f + tanhf(GELU_SCALE * (x + GELU_CUBIC * x * x * x)));
}

// The derivative of `gelu`.
__device__ __forceinline__ float gelu_slope(float x)
{
    const float t = tanhf(GELU_SCALE * (x + GELU_CUBIC * x * x * x));
    const float inner = GELU_SCALE * (1.0f + 3.0f * GELU_CUBIC * x * x);
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * inner;
}

// y <- act(y), or act(gain * n + shift) with n = (y - mean) / sqrt(var + eps)
// over each row (biased variance, as in PyTorch's LayerNorm), in place. `y` is
// [width, ROWS]. The variance is that of the differences to the mean, not
// E[y^2] - mean^2, which cancels.
template <int ROWS>
__device__ void norm_activate(const Net &net, int layer, const float *__restrict__ gain,
                          const float *__restrict__ shift, float *y, float *partial,
                          const Saved &saved, int first_row, int rows)
{
    const int width = net.width[layer + 1];
    const bool norm = normalized(net, layer);
    // THREADS is a multiple of ROWS, so a thread stays in its row.
    const int row = first_row + threadIdx.x % ROWS;
    const bool keep = saved.activation && row < rows;
    float mean = 0.0f;
    float inverse = 1.0f;
    if (norm) {
        mean = row_sum<ROWS>(width, partial, [=](int, int e) { return y[e]; }) / width;
        const auto square = [=](int, int e) { return (y[e] - mean) * (y[e] - mean); };
        const float variance = row_sum<ROWS>(width, partial, square) / width;
        inverse = 1.0f / sqrtf(variance + LAYER_NORM_EPS);
        if (keep && threadIdx.x < ROWS)
            saved.inverse_std[rows * layer + row] = inverse;
    }
    for (int e = threadIdx.x; e < width * ROWS; e += THREADS) {
        const int j = e / ROWS;
        const int at = rows * widths_before(net, layer) + row * width + j;
        float value = y[e];
        if (norm) {
            value = (value - mean) * inverse;
            if (keep)
                saved.before[at] = value;
            value = gain[j] * value + shift[j];
        } else if (keep && net.gelu) {
            saved.before[at] = value;
        }
        value = net.gelu ? gelu(value) : relu(value);
        y[e] = value;
        if (keep)
            saved.activation[at] = value;
    }
    __syncthreads();
}

// The whole network over a tile: `x` [width[0], ROWS] in shared memory; returns
// whichever of `ping` and `pong`, each [widest layer, ROWS], holds the output
// [width[layers], ROWS].
template <int ROWS>
__device__ const float *network(const Net &net, const float *__restrict__ params, const float *x,
                                float *ping, float *pong, float *partial, const Saved &saved,
                                int first_row, int rows)
{
    for (int layer = 0; layer < net.layers; ++layer) {
        const int in = net.width[layer];
        const int out = net.width[layer + 1];
        const float *bias = params + in * out;
        dense<ROWS>(params, bias, in, out, x, ping, partial);
        if (layer + 1 < net.layers) {
            norm_activate<ROWS>(net, layer, bias + out, bias + 2 * out, ping, partial, saved,
                                first_row, rows);
        } else if (net.tanh_head) {
            for (int e = threadIdx.x; e < out * ROWS; e += THREADS)
                ping[e] = net.scale * tanhf(ping[e]);
            __syncthreads();
        }
        params += layer_parameters(net, layer);
        x = ping;
        float *free = pong;
        pong = ping;
        ping = free;
    }
    return x;
}
