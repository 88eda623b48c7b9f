// Policy evaluation, one launch for a batch of observations:
//   s = (obs - mean) / std,  b = anchor(s),
//   action = clip(b + rho tanh(decoder(s, b, 0)), -1, 1), or b without decoder.
//
// The anchor's and the decoder's heads are those of their `Net`; the decoder's
// scale is rho. grid (ceil(rows / ROWS)). Dynamic shared memory, in floats:
// ROWS * (pitch_of(input) + 2 * pitch_of(widest) + PARTS), `input` the wider of the two
// nets' inputs, `widest` the widest later layer of both.
#include "network.cuh"

template <int ROWS>
__device__ __forceinline__ void policy(const Net &anchor, const float *anchor_params,
                                       const Net &decoder, const float *decoder_params,
                                       const float *mean, const float *std, const float *obs,
                                       int rows, int widest, float *actions)
{
    DYNAMIC_SHARED(shared);
    const int obs_dim = anchor.width[0];
    const int act_dim = anchor.width[anchor.layers];
    const bool residual = decoder.layers > 0;
    const int x_pitch = pitch_of(residual ? decoder.width[0] : obs_dim);
    const int pitch = pitch_of(widest);
    float *x = shared; // [s, b, z]
    float *ping = x + x_pitch * ROWS;
    float *pong = ping + pitch * ROWS;
    float *parts = pong + pitch * ROWS;
    const int first_row = blockIdx.x * ROWS;
    const Saved nothing = {nullptr, nullptr, nullptr};
    const int lane = threadIdx.x % WARP;

    for (int r = threadIdx.x / WARP; r < ROWS; r += WARPS) {
        const int row = first_row + r;
        for (int column = lane; column < x_pitch; column += WARP) {
            float value = 0.0f; // of b and z, and of rows past the end
            if (column < obs_dim && row < rows)
                value = (obs[row * obs_dim + column] - mean[column]) / std[column];
            x[r * x_pitch + column] = value;
        }
    }
    // A loop, so that there is one network in the program.
#pragma unroll 1
    for (int turn = 0; turn <= residual; ++turn) {
        const bool first = turn == 0;
        const float *y =
            network<ROWS>(first ? anchor : decoder, first ? anchor_params : decoder_params, x,
                          x_pitch, ping, pong, pitch, parts, nothing, first_row, rows);
        // A warp keeps to its rows.
        for (int r = threadIdx.x / WARP; r < ROWS; r += WARPS)
            for (int a = lane; a < act_dim; a += WARP) {
                float &action = x[r * x_pitch + obs_dim + a];
                const float value = y[r * pitch + a];
                if (first && residual) {
                    action = value;
                    continue;
                }
                if (first_row + r < rows)
                    actions[(first_row + r) * act_dim + a] =
                        residual ? clip(action + value, -1.0f, 1.0f) : value;
            }
    }
}

// Eight rows a block: an evaluation has tens, and sixteen would not leave registers enough.
PASS_KERNEL policy_8(const __grid_constant__ Net anchor, const float *anchor_params,
                     const __grid_constant__ Net decoder, const float *decoder_params,
                     const float *mean, const float *std, const float *obs, int rows, int widest,
                     float *actions, const __grid_constant__ Lanes lanes)
{
    enter_lane(lanes, anchor_params, decoder_params, mean, std, obs, actions);
    policy<8>(anchor, anchor_params, decoder, decoder_params, mean, std, obs, rows, widest,
              actions);
}
