// The losses of SPAR with their gradients, each row's loss written out for the
// log. Unless a kernel says otherwise a thread takes an element:
// grid (ceil(elements / THREADS)).
#include "common.cuh"

// Temporal-difference error of an ensemble q [nets, rows]:
//   y = reward + discount * not_terminal * min_n next[n]     -> `target` [rows]
//   grad[n] = 2 (q[n] - y) / rows                            -> `grad` [nets, rows]
//   loss = mean_n (q[n] - y)^2                               -> `loss` [rows]
// the gradient of each net's own mean over rows. `next` is [next_nets, rows].
KERNEL temporal_difference(const float *next, int next_nets, const float *rewards,
                           const float *not_terminal, float discount, const float *q, int nets,
                           int rows, float *grad, float *target, float *loss,
                           const __grid_constant__ Lanes lanes)
{
    enter_lane(lanes, next, rewards, not_terminal, q, grad, target, loss);
    const int row = blockIdx.x * THREADS + threadIdx.x;
    if (row >= rows)
        return;
    const float future = conservative_at(next, next_nets, rows, row, -1.0f);
    const float y = rewards[row] + discount * not_terminal[row] * future;
    float squares = 0.0f;
    for (int n = 0; n < nets; ++n) {
        const float error = q[n * rows + row] - y;
        grad[n * rows + row] = 2.0f * error / rows;
        squares += error * error;
    }
    target[row] = y;
    loss[row] = squares / nets;
}

// Expectile regression of v [rows] on the least of `upper` [nets, rows]:
//   u = min_n upper[n] - v,  w = u < 0 ? 1 - expectile : expectile
//   grad = -2 w u / rows,    loss = w u^2                    each [rows]
KERNEL expectile_regression(const float *upper, int nets, const float *v, float expectile,
                            int rows, float *grad, float *loss,
                            const __grid_constant__ Lanes lanes)
{
    enter_lane(lanes, upper, v, grad, loss);
    const int row = blockIdx.x * THREADS + threadIdx.x;
    if (row >= rows)
        return;
    const float u = conservative_at(upper, nets, rows, row, -1.0f) - v[row];
    const float w = u < 0.0f ? 1.0f - expectile : expectile;
    grad[row] = -2.0f * w * u / rows;
    loss[row] = w * u * u;
}

// out = a - b: the data's residual r = a - b.
KERNEL difference(const float *a, const float *b, int count, float *out,
                  const __grid_constant__ Lanes lanes)
{
    enter_lane(lanes, a, b, out);
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i < count)
        out[i] = a[i] - b[i];
}

// Bounds of the encoder's log standard deviation, as in BCQ and in
// `spar-rectify`.
constexpr float LOG_STD_LOW = -4.0f;
constexpr float LOG_STD_HIGH = 15.0f;

// z = mean + exp(clip(log_std)) * noise, [rows, latent], of the encoder's
// output `head`, [rows, mean and log_std side by side].
KERNEL draw_latents(const float *head, const float *noise, int rows, int latent, float *z,
                    const __grid_constant__ Lanes lanes)
{
    enter_lane(lanes, head, noise, z);
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= rows * latent)
        return;
    const int at = i / latent * 2 * latent + i % latent;
    const float std = expf(clip(head[at + latent], LOG_STD_LOW, LOG_STD_HIGH));
    z[i] = head[at] + std * noise[i];
}

// Reconstruction of the residuals `r` by the decoder, both [rows, act_dim]:
//   grad = weight 2 (residual - r) / rows,  loss[row] = |residual - r|^2
// A warp takes a row: grid (ceil(rows / (THREADS / WARP))).
KERNEL reconstruction(const float *residual, const float *r, int rows, int act_dim, float weight,
                      float *grad, float *loss, const __grid_constant__ Lanes lanes)
{
    enter_lane(lanes, residual, r, grad, loss);
    const int row = blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP;
    if (row >= rows) // the same for all lanes of the warp
        return;
    float squares = 0.0f;
    for (int a = threadIdx.x % WARP; a < act_dim; a += WARP) {
        const int i = row * act_dim + a;
        const float error = residual[i] - r[i];
        grad[i] = weight * 2.0f * error / rows;
        squares += error * error;
    }
    squares = warp_sum(squares);
    if (threadIdx.x % WARP == 0)
        loss[row] = squares;
}

// Gradient of the encoder's output through z = mean + std * noise, plus that of
// weight * mean over rows of KL(N(mean, std^2) || N(0, I)):
//   d mean    = g + weight mean / rows
//   d log_std = (g noise std + weight (std^2 - 1) / rows)   where not clipped
// with g the gradient of z, which lies in `grad_x`, [rows, stride], from column
// `offset` on. `kl` [rows] is 1/2 sum(mean^2 + std^2 - 1) - sum(log_std).
// A warp takes a row: grid (ceil(rows / (THREADS / WARP))).
KERNEL latent_gradient(const float *grad_x, int stride, int offset, const float *head,
                       const float *noise, int rows, int latent, float weight, float *grad,
                       float *kl, const __grid_constant__ Lanes lanes)
{
    enter_lane(lanes, grad_x, head, noise, grad, kl);
    const int row = blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP;
    if (row >= rows) // the same for all lanes of the warp
        return;
    float divergence = 0.0f;
    for (int i = threadIdx.x % WARP; i < latent; i += WARP) {
        const int at = row * 2 * latent + i;
        const float g = grad_x[row * stride + offset + i];
        const float mean = head[at];
        const float log_std = clip(head[at + latent], LOG_STD_LOW, LOG_STD_HIGH);
        const float std = expf(log_std);
        const bool free = head[at + latent] >= LOG_STD_LOW && head[at + latent] <= LOG_STD_HIGH;
        const float d = g * noise[row * latent + i] * std + weight * (std * std - 1.0f) / rows;
        grad[at] = g + weight * mean / rows;
        grad[at + latent] = free ? d : 0.0f;
        divergence += 0.5f * (mean * mean + std * std - 1.0f) - log_std;
    }
    divergence = warp_sum(divergence);
    if (threadIdx.x % WARP == 0)
        kl[row] = divergence;
}
