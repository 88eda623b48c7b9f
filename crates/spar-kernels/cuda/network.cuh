// A network's forward pass over a tile of ROWS rows, by one block.
//
// Activations live in shared memory as [column, ROWS]: the rows of one column
// side by side. A thread owns COLUMNS columns of the output and keeps their
// COLUMNS * ROWS sums in registers, over a share of the inputs: a block reads a
// weight once, neighbouring threads neighbouring weights, and the ROWS inputs it
// meets are a broadcast of four at a time. Nothing between layers leaves the block.
//
// What bounds a block of few rows is how long a weight takes to arrive: so a
// thread asks for those of STEPS inputs before it uses those it asked for last.
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

// Columns of a layer that a thread computes side by side.
constexpr int COLUMNS = 4;

// Most groups that share a sum: what narrow layers (a critic's last has one
// column) gain by more of them, adding up their parts takes again.
constexpr int GROUPS = 32;

// Floats a row that the parts of such sums take at most.
constexpr int PARTS = THREADS * COLUMNS;

// sum[i][r] += w[i] * x[r] over the rows of one input; `x` is 16-byte aligned,
// since every buffer of a tile starts at a multiple of ROWS floats.
template <int ROWS>
__device__ __forceinline__ void add_products(const float (&w)[COLUMNS], const float *x,
                                             float (&sum)[COLUMNS][ROWS])
{
#pragma unroll
    for (int r = 0; r < ROWS; r += 4) {
        const float4 v = *reinterpret_cast<const float4 *>(x + r);
#pragma unroll
        for (int i = 0; i < COLUMNS; ++i) {
            sum[i][r] += w[i] * v.x;
            sum[i][r + 1] += w[i] * v.y;
            sum[i][r + 2] += w[i] * v.z;
            sum[i][r + 3] += w[i] * v.w;
        }
    }
}

// How the threads of a block share a layer of `width` columns: a group of
// `owners` threads has all of them, COLUMNS each, and every group a share of the
// sum. A thread's columns are `owners` apart, so that neighbours read neighbours.
struct Share {
    int owners;
    int groups;
    int group; // at least `groups` for threads without one
    int first; // of the thread's columns
};

__device__ __forceinline__ Share share(int width, int most_groups)
{
    Share share;
    share.owners = min(THREADS, (width + COLUMNS - 1) / COLUMNS);
    share.groups = min(THREADS / share.owners, most_groups);
    share.group = threadIdx.x / share.owners;
    share.first = threadIdx.x % share.owners;
    return share;
}

// Hands the groups' sums over to `partial`, [groups, width, ROWS], for add_parts.
template <int ROWS>
__device__ __forceinline__ void put_parts(const Share &by, int width,
                                          const float (&sum)[COLUMNS][ROWS], float *partial)
{
    if (by.group >= by.groups)
        return;
#pragma unroll
    for (int i = 0; i < COLUMNS; ++i) {
        const int j = by.first + i * by.owners;
        if (j >= width)
            break;
        float *to = partial + (by.group * width + j) * ROWS;
#pragma unroll
        for (int r = 0; r < ROWS; r += 4)
            *reinterpret_cast<float4 *>(to + r) =
                float4{sum[i][r], sum[i][r + 1], sum[i][r + 2], sum[i][r + 3]};
    }
}

// y[e] = bias + the groups' parts in order, [width, ROWS]; `bias` may be null.
template <int ROWS>
__device__ __forceinline__ void add_parts(const Share &by, int width, const float *partial,
                                          const float *__restrict__ bias, float *y)
{
    for (int e = threadIdx.x; e < width * ROWS; e += THREADS) {
        float sum = bias ? bias[e / ROWS] : 0.0f;
#pragma unroll 4
        for (int group = 0; group < by.groups; ++group)
            sum += partial[group * width * ROWS + e];
        y[e] = sum;
    }
}

// y = x W + b for a tile: `x` [in, ROWS], `y` [out, ROWS], `weight` [in, out].
// `partial` is [PARTS, ROWS].
template <int ROWS>
__device__ void dense(const float *__restrict__ weight, const float *__restrict__ bias, int in,
                      int out, const float *x, float *y, float *partial)
{
    // Weights in flight are registers, of which sixteen rows need many for sums.
    constexpr int STEPS = ROWS > 8 ? 2 : 4;
    // A block has columns for all but the widest layers, which it takes in turns.
    for (int first = 0; first < out; first += PARTS) {
        const int width = min(PARTS, out - first);
        const Share by = share(width, GROUPS);
        float sum[COLUMNS][ROWS] = {};
        if (by.group < by.groups) {
            int column[COLUMNS];
#pragma unroll
            for (int i = 0; i < COLUMNS; ++i) // past the end the last, to no effect
                column[i] = first + min(by.first + i * by.owners, width - 1);
            float ahead[STEPS][COLUMNS];
            const auto ask = [&](int k) {
#pragma unroll
                for (int step = 0; step < STEPS; ++step) {
                    const int at = k + step * by.groups;
#pragma unroll
                    for (int i = 0; i < COLUMNS; ++i)
                        ahead[step][i] = at < in ? weight[at * out + column[i]] : 0.0f;
                }
            };
            ask(by.group);
            for (int k = by.group; k < in; k += STEPS * by.groups) {
                float w[STEPS][COLUMNS];
#pragma unroll
                for (int step = 0; step < STEPS; ++step)
#pragma unroll
                    for (int i = 0; i < COLUMNS; ++i)
                        w[step][i] = ahead[step][i];
                ask(k + STEPS * by.groups);
#pragma unroll
                for (int step = 0; step < STEPS; ++step) {
                    const int at = k + step * by.groups;
                    if (at < in)
                        add_products<ROWS>(w[step], x + at * ROWS, sum);
                }
            }
        }
        put_parts<ROWS>(by, width, sum, partial);
        __syncthreads();
        add_parts<ROWS>(by, width, partial, bias + first, y + first * ROWS);
        __syncthreads();
    }
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
