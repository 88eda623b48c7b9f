// Policy evaluation, one launch for a batch of observations:
//   s = (obs - mean) / std,  b = anchor(s),
//   action = clip(b + rho tanh(decoder(s, b, 0)), -1, 1), or b without decoder.
//
// The anchor's and the decoder's heads are those of their `Net`; the decoder's
// scale is rho. grid (ceil(rows / ROWS)). Dynamic shared memory, in floats:
// ROWS * (input + 2 * widest + PARTS), `input` the wider of the two nets'
// inputs, `widest` the widest later layer of both.
#include "network.cuh"

template <int ROWS>
__device__ void policy(const Net &anchor, const float *anchor_params, const Net &decoder,
                       const float *decoder_params, const float *mean, const float *std,
                       const float *obs, int rows, int widest, float *actions)
{
    DYNAMIC_SHARED(shared);
    const int obs_dim = anchor.width[0];
    const int act_dim = anchor.width[anchor.layers];
    const bool residual = decoder.layers > 0;
    const int input = residual ? decoder.width[0] : obs_dim;
    float *x = shared; // [s, b, z]
    float *ping = x + input * ROWS;
    float *pong = ping + widest * ROWS;
    float *partial = pong + widest * ROWS;
    const int first_row = blockIdx.x * ROWS;
    const Saved nothing = {nullptr, nullptr, nullptr};

    for (int e = threadIdx.x; e < input * ROWS; e += THREADS) {
        const int column = e % input;
        const int row = first_row + e / input;
        float value = 0.0f; // of z, and of rows past the end
        if (column < obs_dim && row < rows)
            value = (obs[row * obs_dim + column] - mean[column]) / std[column];
        x[column * ROWS + e / input] = value;
    }
    __syncthreads();
    const float *b =
        network<ROWS>(anchor, anchor_params, x, ping, pong, partial, nothing, first_row, rows);
    float *action = x + obs_dim * ROWS;
    if (residual) {
        for (int e = threadIdx.x; e < act_dim * ROWS; e += THREADS)
            action[e] = b[e];
        __syncthreads();
        const float *delta = network<ROWS>(decoder, decoder_params, x, ping, pong, partial,
                                           nothing, first_row, rows);
        for (int e = threadIdx.x; e < act_dim * ROWS; e += THREADS)
            action[e] = clip(action[e] + delta[e], -1.0f, 1.0f);
        __syncthreads();
        b = action;
    }
    for (int e = threadIdx.x; e < act_dim * ROWS; e += THREADS) {
        const int row = first_row + e / act_dim;
        if (row < rows)
            actions[row * act_dim + e % act_dim] = b[(e % act_dim) * ROWS + e / act_dim];
    }
}

#define POLICY(ROWS)                                                                              \
    KERNEL policy_##ROWS(                                                                         \
        const __grid_constant__ Net anchor, const float *anchor_params,                           \
        const __grid_constant__ Net decoder, const float *decoder_params,                         \
        const float *mean, const float *std, const float *obs, int rows, int widest,              \
        float *actions, const __grid_constant__ Lanes lanes)                                      \
    {                                                                                             \
        enter_lane(lanes, anchor_params, decoder_params, mean, std, obs, actions);                \
        policy<ROWS>(anchor, anchor_params, decoder, decoder_params, mean, std, obs, rows,        \
                     widest, actions);                                                            \
    }

POLICY(16)
POLICY(8)
