// A network's forward pass over a tile of ROWS rows, by one block.
//
// Activations live in shared memory row by row. Products run on the matrix units, which
// take numbers of eleven significant bits: a number is split into two such, and three
// products of the parts give what single precision gives, up to 2^-21. The units cut off
// what a sum does not hold, towards zero, so that long sums drift: a few steps are added
// there, and their sums by rounding additions. A warp computes SPAN columns of all rows at
// once; each weight is read once, straight into the registers it is needed in, and asked
// for before it is needed. Nothing between layers leaves the block.
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

// Tiles of eight columns that a warp computes side by side, and their columns.
constexpr int TILES = 4;
constexpr int SPAN = 8 * TILES;

// Terms of a sum that are added on the matrix units: two steps of theirs.
constexpr int DEEP = 16;

// DEEPs of weights that are on their way: with two, registers are spilled.
constexpr int AHEAD = 1;

// Floats past whole spans that keep the lines of a tile in different banks.
constexpr int APART = 16;

// Floats a row that the parts of shared sums take; `PARTS` in `network.rs`.
constexpr int PARTS = WARPS * SPAN + APART;

// Floats from one row to the next of a tile in shared memory: whole spans, so that products
// may be of columns past the last, which hold zeros; `pitch` in `network.rs`.
__device__ __forceinline__ int pitch_of(int width)
{
    return (width + SPAN - 1) / SPAN * SPAN + APART;
}

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

// The lane's numbers of one side of two steps of the matrix units.
template <int COUNT> struct Steps {
    Halves<COUNT> first;
    Halves<COUNT> second;
};

// sum[t] += a b[t] over two steps, to single precision: the products of the low parts are
// below its rounding. The small terms come first.
template <int COUNT>
__device__ __forceinline__ void add_products(float (*sum)[4], const Steps<4> &a,
                                             const Steps<2> (&b)[COUNT])
{
    float some[COUNT][4];
#pragma unroll
    for (int t = 0; t < COUNT; ++t)
        begin_tiles(some[t], a.first.low, b[t].first.high);
#pragma unroll
    for (int t = 0; t < COUNT; ++t)
        multiply_tiles(some[t], a.first.high, b[t].first.low);
#pragma unroll
    for (int t = 0; t < COUNT; ++t)
        multiply_tiles(some[t], a.second.low, b[t].second.high);
#pragma unroll
    for (int t = 0; t < COUNT; ++t)
        multiply_tiles(some[t], a.second.high, b[t].second.low);
#pragma unroll
    for (int t = 0; t < COUNT; ++t)
        multiply_tiles(some[t], a.first.high, b[t].first.high);
#pragma unroll
    for (int t = 0; t < COUNT; ++t)
        multiply_tiles(some[t], a.second.high, b[t].second.high);
#pragma unroll
    for (int t = 0; t < COUNT; ++t)
#pragma unroll
        for (int i = 0; i < 4; ++i)
            sum[t][i] += some[t][i];
}

// The rows of a tile at its columns `column` to `column + DEEP`: step `s` of the first of
// both steps is column 4 s and, four later, 4 s + 1; of the second, the two after these. Of
// eight rows the other eight are zero.
template <int ROWS>
__device__ __forceinline__ Steps<4> rows_of(const float *x, int pitch, int column)
{
    const Lane lane = this_lane();
    const float *from = x + lane.line * pitch + column + 4 * lane.step;
    const float4 upper = *reinterpret_cast<const float4 *>(from);
    float4 lower = {0.0f, 0.0f, 0.0f, 0.0f};
    if constexpr (ROWS == 16)
        lower = *reinterpret_cast<const float4 *>(from + 8 * pitch);
    const float first[4] = {upper.x, lower.x, upper.y, lower.y};
    const float second[4] = {upper.z, lower.z, upper.w, lower.w};
    return {halves(first), halves(second)};
}

// How the warps of a block share a layer of `width` columns: each has a span of
// them, in turns if there are more spans than warps; if there are fewer, several
// groups share the sum of a span. The same for every ROWS, so that what comes of a row does
// not depend on how many rows are beside it.
struct Share {
    int spans;
    int groups;
    int group;
    int span; // the warp's first, which may be past the last
};

__device__ __forceinline__ Share share(int width)
{
    const int warp = threadIdx.x / WARP;
    const int spans = (width + SPAN - 1) / SPAN;
    // Of groups a power of two, for which no division is needed.
    const int shift = (spans > 1) + (spans > 2) + (spans > 4) + (spans > 8);
    return {spans, WARPS >> shift, warp >> shift, warp & ((1 << shift) - 1)};
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

// As `four`, of rows of `width` columns, from column `column` on.
__device__ __forceinline__ float4 four_of(const float *row, int width, int column)
{
    return by_fours(row, width) ? four<true>(row + column, width - column)
                                : four<false>(row + column, width - column);
}

// Puts four neighbours into a row of `width` columns, from column `column` on; what is past
// the last is left out.
__device__ __forceinline__ void put_four(float *row, int width, int column, float4 v)
{
    float *to = row + column;
    if (by_fours(row, width)) {
        if (column < width)
            *reinterpret_cast<float4 *>(to) = v;
        return;
    }
    if (column < width)
        to[0] = v.x;
    if (column + 1 < width)
        to[1] = v.y;
    if (column + 2 < width)
        to[2] = v.z;
    if (column + 3 < width)
        to[3] = v.w;
}

// The number of `v` at `i`, which is known when this is compiled.
__device__ __forceinline__ float at_of(const float4 &v, int i)
{
    return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

// The sums of `product`, TOGETHER as in `four`.
template <int ROWS, bool TOGETHER, bool TRANSPOSED>
__device__ __forceinline__ void sums(const Share &by, const float *__restrict__ weight,
                                     const float *__restrict__ start, int depth, int width,
                                     const float *x, int x_pitch, float *y, int pitch)
{
    const int beside = TRANSPOSED ? depth : width;
    const Lane lane = this_lane();
    for (int span = by.span; span < by.spans; span += WARPS) {
        // Column n of tile t is column 4 n + t of the span: a lane's are neighbours.
        const int column = span * SPAN + 4 * lane.line;
        const int stride = DEEP * by.groups;
        float4 ahead[AHEAD][4];
        int from[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int k = DEEP * by.group + 4 * lane.step + (TRANSPOSED ? 0 : i);
            const int j = column + (TRANSPOSED ? i : 0);
            from[i] = TRANSPOSED ? j * beside + k : k * beside + j;
        }
        const auto ask = [&](float4 (&to)[4], int term) {
            const int left = depth - term - 4 * lane.step;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                if constexpr (TRANSPOSED)
                    to[i] = four<TOGETHER>(weight + from[i], column + i < width ? left : 0);
                else
                    to[i] = four<TOGETHER>(weight + from[i], i < left ? width - column : 0);
                from[i] += stride * (TRANSPOSED ? 1 : beside);
            }
        };
#pragma unroll
        for (int turn = 0; turn < AHEAD; ++turn)
            ask(ahead[turn], DEEP * by.group + turn * stride);
        // A lane's sums of a row are of eight neighbours: of tile t numbers t and t + 4.
        const int first = span * SPAN + 8 * lane.step;
        float sum[TILES][4] = {};
        if (start && by.group == 0) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                // It lies right behind the weight.
                const int j = first + 4 * half;
                const float4 v = four<TOGETHER>(start + j, width - j);
#pragma unroll
                for (int t = 0; t < TILES; ++t)
                    sum[t][half] = sum[t][half + 2] = at_of(v, t);
            }
        }
        for (int begin = DEEP * by.group; begin < depth; begin += AHEAD * stride)
#pragma unroll
            for (int turn = 0; turn < AHEAD; ++turn) {
                const int term = begin + turn * stride;
                if (term >= depth) // the same for all lanes of the warp
                    break;
                const Steps<4> rows = rows_of<ROWS>(x, x_pitch, term);
                // Half of the tiles at a time: registers hold no more.
#pragma unroll
                for (int half = 0; half < TILES; half += TILES / 2) {
                    Steps<2> w[TILES / 2];
#pragma unroll
                    for (int t = 0; t < TILES / 2; ++t) {
                        float of[4];
#pragma unroll
                        for (int i = 0; i < 4; ++i)
                            of[i] = TRANSPOSED ? at_of(ahead[turn][half + t], i)
                                               : at_of(ahead[turn][i], half + t);
                        const float both[2][2] = {{of[0], of[1]}, {of[2], of[3]}};
                        w[t] = {halves(both[0]), halves(both[1])};
                    }
                    if (half > 0)
                        ask(ahead[turn], term + AHEAD * stride);
                    add_products<TILES / 2>(sum + half, rows, w);
                }
            }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int row = lane.line + i / 2 * 8;
            if (row < ROWS)
                *reinterpret_cast<float4 *>(y + row * pitch + first + i % 2 * 4) =
                    float4{sum[0][i], sum[1][i], sum[2][i], sum[3][i]};
        }
    }
}

// y = x W + start for a tile, or x W^T if TRANSPOSED: `x` [ROWS, x_pitch] has `depth`
// columns, and as many more as make whole DEEPs, whatever finite numbers they hold; `y`
// [ROWS, pitch] has `width`, and zeros up to the end of their last span. `weight` is
// [depth, width], or [width, depth]; `start` is [width], right behind it, or null; `parts` [PARTS, ROWS].
// Whoever has just written `x` need not wait, and everybody may read `y` then.
template <int ROWS, bool TRANSPOSED>
__device__ __forceinline__ void product(const float *__restrict__ weight,
                                        const float *__restrict__ start, int depth, int width,
                                        const float *x, int x_pitch, float *y, int pitch,
                                        float *parts)
{
    const Share by = share(width);
    __syncthreads();
    float *to = by.groups == 1 ? y : parts + by.group * by.spans * SPAN;
    const int to_pitch = by.groups == 1 ? pitch : PARTS;
    if (by_fours(weight, TRANSPOSED ? depth : width))
        sums<ROWS, true, TRANSPOSED>(by, weight, start, depth, width, x, x_pitch, to, to_pitch);
    else
        sums<ROWS, false, TRANSPOSED>(by, weight, start, depth, width, x, x_pitch, to, to_pitch);
    __syncthreads();
    if (by.groups == 1)
        return;
    for (int row = threadIdx.x / WARP; row < ROWS; row += WARPS)
        for (int j = threadIdx.x % WARP * 4; j < by.spans * SPAN; j += WARP * 4) {
            const float *part = parts + row * PARTS + j;
            float4 sum = *reinterpret_cast<const float4 *>(part);
#pragma unroll 4
            for (int group = 1; group < by.groups; ++group) {
                part += by.spans * SPAN;
                const float4 v = *reinterpret_cast<const float4 *>(part);
                sum = float4{sum.x + v.x, sum.y + v.y, sum.z + v.z, sum.w + v.w};
            }
            *reinterpret_cast<float4 *>(y + row * pitch + j) = sum;
        }
    __syncthreads();
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

// Columns from a lane's four neighbours to its next four, where a warp takes a row.
constexpr int LINE = 4 * WARP;

// What follows a hidden layer.
__device__ __forceinline__ float activation(const Net &net, float x)
{
    return net.gelu ? gelu(x) : relu(x);
}

// y <- act(y) of a hidden layer without normalization, in place on a tile [ROWS, pitch]; a
// warp takes a row. `place` is where the layer's part of `saved` begins.
template <int ROWS>
__device__ __forceinline__ void activate(const Net &net, int width, float *y, int pitch,
                                         const Saved &saved, int place, int first_row, int rows)
{
    for (int r = threadIdx.x / WARP; r < ROWS; r += WARPS) {
        const int row = first_row + r;
        const bool keep = saved.activation && row < rows;
        for (int j = threadIdx.x % WARP * 4; j < width; j += LINE) {
            float4 &at = *reinterpret_cast<float4 *>(y + r * pitch + j);
            const float4 v = at;
            const float4 after = {activation(net, v.x), activation(net, v.y),
                                  activation(net, v.z), activation(net, v.w)};
            at = after;
            if (!keep)
                continue;
            if (net.gelu)
                put_four(saved.before + place + row * width, width, j, v);
            put_four(saved.activation + place + row * width, width, j, after);
        }
    }
}

// y <- act(gain * n + shift) with n = (y - mean) / sqrt(var + eps) over each row (biased
// variance, as in PyTorch's LayerNorm), in place on a tile [ROWS, pitch]; a warp takes a
// row. The variance is that of the differences to the mean, not E[y^2] - mean^2, which
// cancels. `place` is where the layer's part of `saved` begins.
template <int ROWS>
__device__ __forceinline__ void norm_activate(const Net &net, int layer,
                                              const float *__restrict__ gain,
                                              const float *__restrict__ shift, float *y, int pitch,
                                              const Saved &saved, int place, int first_row,
                                              int rows)
{
    const int width = net.width[layer + 1];
    const int first = threadIdx.x % WARP * 4;
    // A lane's four neighbours are LINE apart. What is read of the first two is asked for
    // before it is needed.
    float4 gains[2];
    float4 shifts[2];
#pragma unroll
    for (int q = 0; q < 2; ++q) {
        gains[q] = four_of(gain, width, first + q * LINE);
        shifts[q] = four_of(shift, width, first + q * LINE);
    }
    for (int r = threadIdx.x / WARP; r < ROWS; r += WARPS) {
        float *line = y + r * pitch;
        const int row = first_row + r;
        const bool keep = saved.activation && row < rows;
        const auto at = [&](int j) { return *reinterpret_cast<const float4 *>(line + j); };
        float sum = 0.0f;
        for (int j = first; j < width; j += LINE) // zeros after the last
            sum += (at(j).x + at(j).y) + (at(j).z + at(j).w);
        const float mean = warp_sum(sum) / width;
        float squares = 0.0f;
        for (int j = first; j < width; j += LINE)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float d = j + i < width ? at_of(at(j), i) - mean : 0.0f;
                squares += d * d;
            }
        const float inverse = 1.0f / sqrtf(warp_sum(squares) / width + LAYER_NORM_EPS);
        if (keep && first == 0)
            saved.inverse_std[rows * layer + row] = inverse;
        const auto finish = [&](int j, const float4 &g, const float4 &s) {
            if (j >= width)
                return;
            const float4 v = at(j);
            const float4 n = {(v.x - mean) * inverse, (v.y - mean) * inverse,
                              (v.z - mean) * inverse, (v.w - mean) * inverse};
            const float4 after = {activation(net, g.x * n.x + s.x),
                                  activation(net, g.y * n.y + s.y),
                                  activation(net, g.z * n.z + s.z),
                                  activation(net, g.w * n.w + s.w)};
            *reinterpret_cast<float4 *>(line + j) = after;
            if (keep) {
                put_four(saved.before + place + row * width, width, j, n);
                put_four(saved.activation + place + row * width, width, j, after);
            }
        };
#pragma unroll
        for (int q = 0; q < 2; ++q)
            finish(first + q * LINE, gains[q], shifts[q]);
        for (int j = first + 2 * LINE; j < width; j += LINE)
            finish(j, four_of(gain, width, j), four_of(shift, width, j));
    }
}

// The whole network over a tile: `x` [ROWS, x_pitch] in shared memory, as `product` asks, for
// which nobody need have waited; returns whichever of `ping` and `pong`, each [ROWS, pitch],
// holds the output, which everybody may read.
template <int ROWS>
__device__ const float *network(const Net &net, const float *__restrict__ params, const float *x,
                                int x_pitch, float *ping, float *pong, int pitch, float *parts,
                                const Saved &saved, int first_row, int rows)
{
    int place = 0;
    for (int layer = 0; layer < net.layers; ++layer) {
        const int in = net.width[layer];
        const int out = net.width[layer + 1];
        const float *bias = params + in * out;
        float *y = ping;
        product<ROWS, false>(params, bias, in, out, x, x_pitch, y, pitch, parts);
        if (normalized(net, layer)) {
            norm_activate<ROWS>(net, layer, bias + out, bias + 2 * out, y, pitch, saved, place,
                                first_row, rows);
        } else if (layer + 1 < net.layers) {
            activate<ROWS>(net, out, y, pitch, saved, place, first_row, rows);
        } else if (net.tanh_head) {
            for (int r = threadIdx.x / WARP; r < ROWS; r += WARPS)
                for (int j = threadIdx.x % WARP; j < out; j += WARP)
                    y[r * pitch + j] = net.scale * tanhf(y[r * pitch + j]);
        }
        params += layer_parameters(net, layer);
        place += rows * out;
        x = y;
        x_pitch = pitch;
        ping = pong;
        pong = y;
    }
    __syncthreads();
    return x;
}
