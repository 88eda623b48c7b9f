// The part of the CUDA language the kernels use, for a C++ compiler: a thread
// is a fiber, a block is run by switching between its fibers wherever they
// wait, blocks run one after the other.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>

#define __global__
#define __device__ static
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __grid_constant__
// One block at a time: what is shared by a block is shared by all.
#define __shared__ static
#define __align__(bytes) __attribute__((aligned(bytes)))
#define DYNAMIC_SHARED(name) float *name = shim::dynamic_shared

struct uint3 {
    unsigned x, y, z;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};

// Set before a fiber runs; a kernel reads them again after every wait.
static uint3 threadIdx, blockIdx, gridDim;

namespace shim {
extern float *dynamic_shared;
// Waits until every thread of the block waits at the same line.
void wait_block(int line);
// Value of lane `lane ^ offset`; waits for the whole warp.
float exchange(float value, int offset, unsigned mask);
// As in common.cuh; waits for the whole warp.
void multiply_tiles(float (&sum)[4], const float (&a)[4], const float (&b)[2]);
} // namespace shim

#define __syncthreads() shim::wait_block(__LINE__)

static inline float __shfl_xor_sync(unsigned mask, float value, int offset)
{
    return shim::exchange(value, offset, mask);
}

#define MATRIX_UNITS
using shim::multiply_tiles;

static inline void begin_tiles(float (&sum)[4], const float (&a)[4], const float (&b)[2])
{
    sum[0] = sum[1] = sum[2] = sum[3] = 0.0f;
    multiply_tiles(sum, a, b);
}

static inline unsigned __float_as_uint(float x)
{
    unsigned bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float __uint_as_float(unsigned bits)
{
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

static inline int min(int a, int b)
{
    return a < b ? a : b;
}
