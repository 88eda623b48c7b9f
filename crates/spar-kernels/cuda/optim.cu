// Optimizer and averaging steps, each one pass over flat buffers.
// grid (ceil(count / THREADS)).
#include "common.cuh"

// Sum over the parts of number `i`, in order.
__device__ __forceinline__ float sum_parts(const float *parts, int count_of_parts, int count, int i)
{
    float sum = 0.0f;
#pragma unroll 4
    for (int part = 0; part < count_of_parts; ++part)
        sum += parts[part * count + i];
    return sum;
}

// One step of Adam (PyTorch's definition), in place, with decoupled weight
// decay (AdamW) and Polyak averaging on request:
//   p <- keep p                         keep = 1 - lr * decay
//   m <- m + new1 (g - m)               new1 = 1 - beta1
//   v <- (1 - new2) v + new2 g^2        new2 = 1 - beta2
//   p <- p - rate m / (sqrt(v) root + eps)
//   target <- target + tau (p - target) unless `target` is null
// with g the sum of a gradient's parts, `grad` [parts, count], and of those of
// another, `more` [more_parts, count], unless that is null; and
// factors = [rate, root], rate = lr / (1 - beta1^step) and root =
// 1 / sqrt(1 - beta2^step). The host computes them in double precision (1 - 0.999
// in single is off by 5e-5 of itself) and writes them before the launch: all that
// changes from step to step is in memory, so that a launch can be repeated as
// it was recorded.
KERNEL adam(float *params, const float *grad, int parts, const float *more, int more_parts,
            float *m, float *v, float *target, const float *factors, int count, float keep,
            float new1, float keep2, float new2, float eps, float tau,
            const __grid_constant__ Lanes lanes)
{
    enter_lane(lanes, params, grad, more, m, v, target, factors);
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= count)
        return;
    const float rate = factors[0];
    const float root = factors[1];
    float g = sum_parts(grad, parts, count, i);
    if (more)
        g += sum_parts(more, more_parts, count, i);
    const float m_new = m[i] + new1 * (g - m[i]);
    const float v_new = keep2 * v[i] + new2 * g * g;
    const float p = params[i] * keep - rate * m_new / (sqrtf(v_new) * root + eps);
    m[i] = m_new;
    v[i] = v_new;
    params[i] = p;
    if (target)
        target[i] += tau * (p - target[i]);
}

// target <- target + tau (source - target).
KERNEL polyak(float *target, const float *source, int count, float tau,
              const __grid_constant__ Lanes lanes)
{
    enter_lane(lanes, target, source);
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i < count)
        target[i] += tau * (source[i] - target[i]);
}
