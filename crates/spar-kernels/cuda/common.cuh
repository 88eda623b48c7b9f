// What every kernel shares: the description of a network, the inputs a pass
// gathers, and sums over a warp and over a block.
//
// Every sum runs in an order fixed by the launch alone, without atomics on
// floating point, so that a launch gives the same bits every time.
#pragma once

// Compiled by NVRTC, and by a C++ compiler with a stand-in for the CUDA
// language (tests/shim/cuda_shim.h), which declares this in its own way.
#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) float name[]
#endif

// sum += a b on a tile of a matrix unit, by a warp: `a` 16 by 8, `b` 8 by 8, of which
// the units take eleven significant bits (TF32). Lane 4 l + s holds a[l][s], a[l + 8][s],
// a[l][s + 4] and a[l + 8][s + 4]; b[s][l] and b[s + 4][l]; sum[l][2 s], sum[l][2 s + 1],
// sum[l + 8][2 s] and sum[l + 8][2 s + 1].
#ifndef MATRIX_UNITS
#define MATRIX_UNITS
__device__ __forceinline__ void multiply_tiles(float (&sum)[4], const float (&a)[4],
                                               const float (&b)[2])
{
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, "
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
          "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}

// sum = a b, likewise.
__device__ __forceinline__ void begin_tiles(float (&sum)[4], const float (&a)[4],
                                            const float (&b)[2])
{
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, "
        "{%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};"
        : "=f"(sum[0]), "=f"(sum[1]), "=f"(sum[2]), "=f"(sum[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
          "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])),
          "f"(0.0f));
}
#endif

constexpr int WARP = 32;

// Threads of a block, but in passes of networks.
constexpr int THREADS = 256;

// A kernel. Two blocks a multiprocessor are as many as registers let be; asked for
// more, the compiler would save registers by spilling them.
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, 2)

// Warps and threads of a block in a pass of networks. One block has a multiprocessor to
// itself: its warps are there to wait in turn, and each has as many registers as products
// ask for.
constexpr int WARPS = 16;
constexpr int PASS_THREADS = WARPS * WARP;
#define PASS_KERNEL extern "C" __global__ void __launch_bounds__(PASS_THREADS, 1)

// Layers of the deepest network: seven hidden ones and the last.
constexpr int MAX_LAYERS = 8;

// As in PyTorch, and in `mlp::LAYER_NORM_EPS`.
constexpr float LAYER_NORM_EPS = 1e-5f;

// Sizes of a network; the parameters lie as `MlpShape` says: per layer the
// weight [in, out], the bias [out] and, in hidden layers of a normalized
// network, gain [out] and shift [out].
struct Net {
    int layers;
    int layer_norm;
    // Hidden layers are followed by GELU instead of ReLU.
    int gelu;
    // The output is `scale * tanh(last layer)` instead of the last layer.
    int tanh_head;
    float scale;
    // width[0] is the input's, width[layers] the output's.
    int width[MAX_LAYERS + 1];
};

// The runs one launch is for. Their buffers lie alike in equal slabs of one allocation, a
// run's `stride` floats behind those of the one before; the host gives every launch these as
// its last argument. A grid has `depth` blocks along z for each run.
struct Lanes {
    int depth;
    long long stride;
};

// Moves a kernel's pointers, other than null, to the buffers of this block's run.
template <class... Pointer>
__device__ __forceinline__ void enter_lane(const Lanes &lanes, Pointer &...pointers)
{
    const long long offset = blockIdx.z / lanes.depth * lanes.stride;
    ((pointers += pointers ? offset : 0), ...);
}

// This block's place along z among those of its run.
__device__ __forceinline__ int z_in_lane(const Lanes &lanes)
{
    return blockIdx.z % lanes.depth;
}

// Rows of a network's input, made of up to three parts side by side, as in
// [s, b, z]. Part `i` has `width[i]` columns, and each of its rows stands for
// `repeat[i]` rows of the input in turn: the K candidates of a state share its
// `s` and `b` without anyone copying them.
struct Input {
    int width[3];
    int repeat[3];
};

// The parts of one row of an input.
struct InputRow {
    const float *part[3];
    int width[3];
};

__device__ __forceinline__ InputRow row_of(const Input &input, const float *x0, const float *x1,
                                           const float *x2, int row)
{
    const float *const parts[3] = {x0, x1, x2};
    InputRow of;
#pragma unroll
    for (int i = 0; i < 3; ++i) {
        const int own = input.repeat[i] > 1 ? row / input.repeat[i] : row;
        of.width[i] = input.width[i];
        of.part[i] = parts[i] + own * input.width[i];
    }
    return of;
}

// Column `column` of a row, which it has.
__device__ __forceinline__ float column_of(const InputRow &row, int column)
{
    const float *from = row.part[0];
    if (column >= row.width[0]) {
        column -= row.width[0];
        from = row.part[1];
        if (column >= row.width[1]) {
            column -= row.width[1];
            from = row.part[2];
        }
    }
    return from[column];
}

// Whether layer `layer` is normalized: the hidden ones are.
__device__ __forceinline__ bool normalized(const Net &net, int layer)
{
    return net.layer_norm && layer + 1 < net.layers;
}

// Whether a pass keeps, besides the activations, a value per hidden unit from
// before them: the normalized one or, without normalization, what GELU was
// applied to. Of a ReLU the activation itself says which way it went.
__device__ __forceinline__ bool keeps_before(const Net &net)
{
    return net.layer_norm || net.gelu;
}

// Parameters of one layer.
__device__ __forceinline__ int layer_parameters(const Net &net, int layer)
{
    const int out = net.width[layer + 1];
    return net.width[layer] * out + out + (normalized(net, layer) ? 2 * out : 0);
}

// Parameters of the whole network.
__device__ __forceinline__ int parameters(const Net &net)
{
    int count = 0;
    for (int layer = 0; layer < net.layers; ++layer)
        count += layer_parameters(net, layer);
    return count;
}

// Floats from one net of an ensemble to the next: its parameters, and a few unused,
// so that every net begins where four can be read at once.
__device__ __forceinline__ int next_net(const Net &net)
{
    return (parameters(net) + 3) / 4 * 4;
}

// Sum of the widths of the layers' outputs before `layer`: what is kept of a
// pass lies layer after layer, each [rows, width].
__device__ __forceinline__ int widths_before(const Net &net, int layer)
{
    int sum = 0;
    for (int l = 0; l < layer; ++l)
        sum += net.width[l + 1];
    return sum;
}

// Clips to [low, high] and lets a NaN through, which fminf and fmaxf would
// replace by a bound: a diverged network must show.
__device__ __forceinline__ float clip(float x, float low, float high)
{
    return x < low ? low : (x > high ? high : x);
}

// Sum over the 32 lanes of a warp; every lane gets it.
__device__ __forceinline__ float warp_sum(float value)
{
    for (int offset = WARP / 2; offset > 0; offset /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, offset);
    return value;
}

// Greatest of the 32 lanes of a warp; every lane gets it.
__device__ __forceinline__ float warp_max(float value)
{
    for (int offset = WARP / 2; offset > 0; offset /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, offset));
    return value;
}

// Sum over the block; every thread gets it. `scratch` holds one float per warp
// and may be used again at once.
__device__ __forceinline__ float block_sum(float value, float *scratch)
{
    value = warp_sum(value);
    if (threadIdx.x % WARP == 0)
        scratch[threadIdx.x / WARP] = value;
    __syncthreads();
    float sum = 0.0f;
    for (int warp = 0; warp < THREADS / WARP; ++warp)
        sum += scratch[warp];
    // Before the next use overwrites what a slow thread still reads.
    __syncthreads();
    return sum;
}

// The (biased) standard deviation of an ensemble's `values` [nets, rows] of a row.
__device__ __forceinline__ float deviation_at(const float *values, int nets, int rows, int row)
{
    float sum = 0.0f;
    for (int n = 0; n < nets; ++n)
        sum += values[n * rows + row];
    const float mean = sum / nets;
    float squares = 0.0f;
    for (int n = 0; n < nets; ++n) {
        const float d = values[n * rows + row] - mean;
        squares += d * d;
    }
    return sqrtf(squares / nets);
}

// Conservative value of row `row` of `values`, [nets, rows]: the least over the
// nets or, with `deviations` >= 0, mean - deviations * std (biased).
__device__ __forceinline__ float conservative_at(const float *values, int nets, int rows, int row,
                                                 float deviations)
{
    float least = values[row];
    float sum = least;
    for (int n = 1; n < nets; ++n) {
        const float value = values[n * rows + row];
        // A NaN among the values stays: both comparisons with it are false.
        least = least < value ? least : (value <= least ? value : value + least);
        sum += value;
    }
    if (deviations < 0.0f)
        return least;
    return sum / nets - deviations * deviation_at(values, nets, rows, row);
}
