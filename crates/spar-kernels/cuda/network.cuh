// A network's forward pass over a tile of ROWS rows, by one block.
//
// Activations live in shared memory as [column, ROWS]: the rows of one column
// side by side. A thread owns a column of the output and keeps ROWS sums in
// registers; a weight is read once per tile, neighbouring threads reading
// neighbouring weights, and the ROWS inputs it meets are a broadcast of four
// at a time. So every weight read from the second-level cache serves ROWS
// multiply-adds, and nothing between layers leaves the block.
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

// sum[r] += w * x[r] over the rows of one column; `x` is 16-byte aligned, since
// every buffer of a tile starts at a multiple of ROWS floats.
template <int ROWS>
__device__ __forceinline__ void add_column(float w, const float *x, float *sum)
{
#pragma unroll
    for (int r = 0; r < ROWS; r += 4) {
        const float4 v = *reinterpret_cast<const float4 *>(x + r);
        sum[r] += w * v.x;
        sum[r + 1] += w * v.y;
        sum[r + 2] += w * v.z;
        sum[r + 3] += w * v.w;
    }
}

// y = x W + b for a tile: `x` [in, ROWS], `y` [out, ROWS], `weight` [in, out].
//
// A layer narrower than half a block would leave most threads idle over a long
// sum (a critic's last layer has one column): there the inputs are dealt to
// `groups` of threads, whose parts are added in order. `partial` is
// [THREADS, ROWS].
template <int ROWS>
__device__ void dense(const float *__restrict__ weight, const float *__restrict__ bias, int in,
                      int out, const float *x, float *y, float *partial)
{
    const int groups = THREADS / out;
    if (groups < 2) {
        for (int j = threadIdx.x; j < out; j += THREADS) {
            float sum[ROWS];
#pragma unroll
            for (int r = 0; r < ROWS; ++r)
                sum[r] = bias[j];
#pragma unroll 4
            for (int k = 0; k < in; ++k)
                add_column<ROWS>(weight[k * out + j], x + k * ROWS, sum);
#pragma unroll
            for (int r = 0; r < ROWS; ++r)
                y[j * ROWS + r] = sum[r];
        }
    } else {
        const int j = threadIdx.x % out;
        const int group = threadIdx.x / out;
        if (group < groups) {
            float sum[ROWS];
#pragma unroll
            for (int r = 0; r < ROWS; ++r)
                sum[r] = 0.0f;
#pragma unroll 4
            for (int k = group; k < in; k += groups)
                add_column<ROWS>(weight[k * out + j], x + k * ROWS, sum);
#pragma unroll
            for (int r = 0; r < ROWS; ++r)
                partial[(group * out + j) * ROWS + r] = sum[r];
        }
        __syncthreads();
        for (int e = threadIdx.x; e < out * ROWS; e += THREADS) {
            float sum = bias[e / ROWS];
            for (int g = 0; g < groups; ++g)
                sum += partial[g * out * ROWS + e];
            y[e] = sum;
        }
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
