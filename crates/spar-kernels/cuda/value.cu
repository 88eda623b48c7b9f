// What an ensemble of critics says, and latent-sampling weighted regression on
// it.
#include "common.cuh"

// out[row] of `values` [nets, rows]. grid (ceil(rows / THREADS)).
KERNEL conservative(const float *values, int nets, int rows, float deviations, float *out,
                    const __grid_constant__ Lanes lanes)
{
    enter_lane(lanes, values, out);
    const int row = blockIdx.x * THREADS + threadIdx.x;
    if (row < rows)
        out[row] = conservative_at(values, nets, rows, row, deviations);
}

// Advantages of K candidates per state from the critics' values,
// [nets, states * k]: advantage[s, i] = q_i - mean_j q_j with q the conservative value;
// excess[s, i], centred alike, of e = max(0, sd - level), sd the deviation of the
// critics' values and level its root mean square over `data`; `sums` [4, states] of
// advantage^2, advantage excess and excess^2, and the mean of e that a data action's
// advantage is to be raised by, times what `imitation` lowers a candidate by;
// and of the state's data action, valued by `data` [data_nets, states]:
// data_advantage[s] = min_n data[n, s] - baseline[s], or, without a baseline, less
// the candidates' mean. Every block measures the level anew, to the same bits.
// A warp takes a state, its lanes the candidates: grid (ceil(states / (THREADS / WARP))).
KERNEL advantages(const float *values, int nets, int states, int k, float deviations,
                  const float *data, int data_nets, const float *baseline,
                  float *advantage, float *excess, float *sums, float *data_advantage,
                  const __grid_constant__ Lanes lanes)
{
    enter_lane(lanes, values, data, baseline, advantage, excess, sums, data_advantage);
    __shared__ float scratch[THREADS / WARP];
    float part = 0.0f;
    for (int s = threadIdx.x; s < states; s += THREADS) {
        const float d = deviation_at(data, data_nets, states, s);
        part += d * d;
    }
    const float level = sqrtf(block_sum(part, scratch) / states);
    const int state = blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP;
    if (state >= states) // the same for all lanes of the warp
        return;
    const int lane = threadIdx.x % WARP;
    advantage += state * k;
    excess += state * k;
    float sum = 0.0f;
    float sum_above = 0.0f;
    for (int i = lane; i < k; i += WARP) {
        const int at = state * k + i;
        const float value = conservative_at(values, nets, states * k, at, deviations);
        float above = deviation_at(values, nets, states * k, at) - level;
        above = above <= 0.0f ? 0.0f : above; // a NaN stays
        advantage[i] = value;
        excess[i] = above;
        sum += value;
        sum_above += above;
    }
    const float mean = warp_sum(sum) / k;
    const float mean_above = warp_sum(sum_above) / k;
    float squares = 0.0f;
    float products = 0.0f;
    float squares_above = 0.0f;
    for (int i = lane; i < k; i += WARP) {
        const float a = advantage[i] - mean; // of this lane's own writing
        const float e = excess[i] - mean_above;
        advantage[i] = a;
        excess[i] = e;
        squares += a * a;
        products += a * e;
        squares_above += e * e;
    }
    squares = warp_sum(squares);
    products = warp_sum(products);
    squares_above = warp_sum(squares_above);
    if (lane > 0)
        return;
    sums[state] = squares;
    sums[states + state] = products;
    sums[2 * states + state] = squares_above;
    sums[3 * states + state] = baseline ? 0.0f : mean_above;
    const float worth = conservative_at(data, data_nets, states, state, -1.0f);
    data_advantage[state] = worth - (baseline ? baseline[state] : mean);
}

// What a state adds to the log.
struct Stats {
    float loss;
    float spread;
    float weight_max;
    float effective;
};

// One state by one warp; see `imitation`. The lanes share the candidates, so that each
// reads of `weights` only what it wrote: until the end, penalized advantages.
__device__ Stats imitate_state(const float *candidates, const float *advantage,
                               const float *excess, float penalty, int k, int act_dim,
                               float scale, float grad_scale, float *weights, float *target,
                               float *grad)
{
    const int lane = threadIdx.x % WARP;
    float greatest = -3.402823466e38f; // the least float: no header brings INFINITY
    for (int i = lane; i < k; i += WARP) {
        weights[i] = advantage[i] - penalty * excess[i];
        greatest = fmaxf(greatest, weights[i]);
    }
    greatest = warp_max(greatest);
    float sum = 0.0f;
    for (int i = lane; i < k; i += WARP)
        sum += expf((weights[i] - greatest) * scale);
    sum = warp_sum(sum);

    Stats stats = {0.0f, 0.0f, 0.0f, 0.0f};
    float squared = 0.0f;
    for (int a = 0; a < act_dim; ++a) {
        float weighted = 0.0f;
        float plain = 0.0f;
        for (int i = lane; i < k; i += WARP) {
            const float c = candidates[i * act_dim + a];
            weighted += expf((weights[i] - greatest) * scale) / sum * c;
            plain += c;
        }
        weighted = warp_sum(weighted);
        const float mean = warp_sum(plain) / k;
        if (lane == 0)
            target[a] = weighted;
        for (int i = lane; i < k; i += WARP) {
            const float c = candidates[i * act_dim + a];
            const float error = c - weighted;
            grad[i * act_dim + a] = grad_scale * error;
            stats.loss += error * error;
            stats.spread += (c - mean) * (c - mean);
        }
    }
    for (int i = lane; i < k; i += WARP) {
        const float weight = expf((weights[i] - greatest) * scale) / sum;
        weights[i] = weight;
        stats.weight_max = fmaxf(stats.weight_max, weight);
        squared += weight * weight;
    }
    stats.loss = warp_sum(stats.loss);
    stats.spread = warp_sum(stats.spread);
    stats.weight_max = warp_max(stats.weight_max);
    stats.effective = 1.0f / warp_sum(squared);
    return stats;
}

// Latent-sampling weighted regression of `candidates` [states, k, act_dim]:
//   u      = penalty + ratio sqrt(sum of advantage^2 / sum of excess^2)
//   A      = advantage - u excess
//   std    = sqrt(mean over all of A^2), of `advantages`'s sums
//   floor  = share times the deviation of `data_advantage` [states] around its mean
//   sigma  = max(std, floor)
//   w      = softmax_i(A / ((sigma + 1e-6) temperature)) -> `weights` [states, k]
//   target = sum_i w_i Delta_i                                  -> `target` [states, act_dim]
//   grad   = weight 2 (Delta_i - target) / (states k)           -> `grad` [states, k, act_dim]
// the gradient of weight * mean over states of (1/k) sum_i |Delta_i - target|^2
// at a constant target. `parts` [blocks, 4] are the block's sums of loss, spread,
// greatest weight and 1 / sum_i w_i^2; `imitation_stats` adds them. `scales` [3] are
// std, the deviation of `data_advantage`, and u.
//
// A warp takes a state: grid (ceil(states / (THREADS / WARP))). Every block
// adds `sums` and `data_advantage` up anew, in the same order and so to the same
// bits: a few loads per thread are cheaper than a launch.
KERNEL imitation(const float *candidates, const float *advantage, const float *excess,
                 const float *sums, const float *data_advantage, int states, int k, int act_dim,
                 float temperature, float share, float penalty, float ratio, float weight,
                 float *weights, float *target, float *grad, float *parts, float *scales,
                 const __grid_constant__ Lanes lanes)
{
    enter_lane(lanes, candidates, advantage, excess, sums, data_advantage, weights, target,
               grad, parts, scales);
    __shared__ float scratch[THREADS / WARP];
    __shared__ Stats stats[THREADS / WARP];
    float squares = 0.0f;
    float products = 0.0f;
    float squares_above = 0.0f;
    for (int s = threadIdx.x; s < states; s += THREADS) {
        squares += sums[s];
        products += sums[states + s];
        squares_above += sums[2 * states + s];
    }
    squares = block_sum(squares, scratch);
    products = block_sum(products, scratch);
    squares_above = block_sum(squares_above, scratch);
    float u = penalty;
    if (ratio > 0.0f)
        u += ratio * (squares_above == 0.0f ? 0.0f : sqrtf(squares / squares_above));
    const float count = static_cast<float>(states) * k;
    const float square = squares - 2.0f * u * products + u * u * squares_above;
    const float std = sqrtf((square < 0.0f ? 0.0f : square) / count); // a NaN stays
    const float *raised = sums + 3 * states;
    float part = 0.0f;
    for (int s = threadIdx.x; s < states; s += THREADS)
        part += data_advantage[s] + u * raised[s];
    const float mean = block_sum(part, scratch) / states;
    part = 0.0f;
    for (int s = threadIdx.x; s < states; s += THREADS) {
        const float d = data_advantage[s] + u * raised[s] - mean;
        part += d * d;
    }
    const float of_data = sqrtf(block_sum(part, scratch) / states);
    const float floor = share * of_data;
    const float sigma = floor <= std || std != std ? std : floor; // lets a NaN through
    const float scale = 1.0f / ((sigma + 1e-6f) * temperature);
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        scales[0] = std;
        scales[1] = of_data;
        scales[2] = u;
    }

    const int warp = threadIdx.x / WARP;
    const int state = blockIdx.x * (THREADS / WARP) + warp;
    Stats mine = {0.0f, 0.0f, 0.0f, 0.0f};
    if (state < states) // the same for all lanes of the warp
        mine = imitate_state(candidates + state * k * act_dim, advantage + state * k,
                             excess + state * k, u, k, act_dim, scale, weight * 2.0f / count,
                             weights + state * k,
                             target + state * act_dim, grad + state * k * act_dim);
    if (threadIdx.x % WARP == 0)
        stats[warp] = mine;
    __syncthreads();
    if (threadIdx.x > 0)
        return;
    Stats sum = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int w = 0; w < THREADS / WARP; ++w) {
        sum.loss += stats[w].loss;
        sum.spread += stats[w].spread;
        sum.weight_max += stats[w].weight_max;
        sum.effective += stats[w].effective;
    }
    parts[blockIdx.x * 4] = sum.loss;
    parts[blockIdx.x * 4 + 1] = sum.spread;
    parts[blockIdx.x * 4 + 2] = sum.weight_max;
    parts[blockIdx.x * 4 + 3] = sum.effective;
}

// out = [loss, spread, weight_max, effective]: the means of `imitation`'s parts, for
// the log. One block.
KERNEL imitation_stats(const float *parts, int blocks, int states, int k, float *out,
                       const __grid_constant__ Lanes lanes)
{
    enter_lane(lanes, parts, out);
    __shared__ float scratch[THREADS / WARP];
    for (int i = 0; i < 4; ++i) {
        float part = 0.0f;
        for (int b = threadIdx.x; b < blocks; b += THREADS)
            part += parts[b * 4 + i];
        const float sum = block_sum(part, scratch);
        const float count = i >= 2 ? static_cast<float>(states) : static_cast<float>(states) * k;
        if (threadIdx.x == 0)
            out[i] = sum / count;
    }
}
