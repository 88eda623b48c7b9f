// Forward pass of an ensemble of networks of one shape, one launch.
//
//   out[n] = head(W_L act(norm(... W_1 x + b_1 ...)) + b_L)   for every net n
//
// grid (ceil(rows / ROWS), nets), PASS_THREADS threads. Dynamic shared memory, in floats:
// ROWS * (pitch_of(width[0]) + 2 * pitch_of(widest later layer) + PARTS).
#include "network.cuh"

// Rows of the input into a tile; rows and columns past the end are zero, so that what is
// computed of them is harmless and finite.
template <int ROWS>
__device__ __forceinline__ void load_tile(const Input &input, const float *x0, const float *x1,
                                          const float *x2, int width, int first_row, int rows,
                                          float *tile)
{
    const int pitch = pitch_of(width);
    for (int r = threadIdx.x / WARP; r < ROWS; r += WARPS) {
        const int row = first_row + r;
        const InputRow from = row_of(input, x0, x1, x2, row);
        for (int column = threadIdx.x % WARP; column < pitch; column += WARP) {
            const bool inside = row < rows && column < width;
            tile[r * pitch + column] = inside ? column_of(from, column) : 0.0f;
        }
    }
}

// `out` is [nets, rows, output]. With `actions` (one net of outputs Delta),
// also actions = clip(base + Delta, -1, 1), [rows, output], where row `i` of
// `base` stands for `base_repeat` rows in turn: the candidates' actions.
template <int ROWS>
__device__ __forceinline__ void mlp_forward(const Net &net, const float *params,
                                            const Input &input, const float *x0, const float *x1,
                                            const float *x2, int rows, int widest, float *out,
                                            Saved saved, const float *base, int base_repeat,
                                            float *actions)
{
    DYNAMIC_SHARED(shared);
    const int pitch = pitch_of(widest);
    const int x_pitch = pitch_of(net.width[0]);
    float *x = shared;
    float *ping = x + x_pitch * ROWS;
    float *pong = ping + pitch * ROWS;
    float *parts = pong + pitch * ROWS;
    const int first_row = blockIdx.x * ROWS;
    const int member = blockIdx.y;
    params += member * next_net(net);
    if (saved.activation) {
        const int kept = rows * widths_before(net, net.layers - 1);
        saved.activation += member * kept;
        saved.before += keeps_before(net) ? member * kept : 0;
        saved.inverse_std += net.layer_norm ? member * rows * (net.layers - 1) : 0;
    }
    load_tile<ROWS>(input, x0, x1, x2, net.width[0], first_row, rows, x);
    const float *y = network<ROWS>(net, params, x, x_pitch, ping, pong, pitch, parts, saved,
                                   first_row, rows);
    const int width = net.width[net.layers];
    for (int r = threadIdx.x / WARP; r < ROWS && first_row + r < rows; r += WARPS) {
        const int row = first_row + r;
        for (int j = threadIdx.x % WARP; j < width; j += WARP) {
            const float value = y[r * pitch + j];
            out[(member * rows + row) * width + j] = value;
            if (actions)
                actions[row * width + j] =
                    clip(base[(row / base_repeat) * width + j] + value, -1.0f, 1.0f);
        }
    }
}

// Sixteen rows a block where shared memory holds them, eight otherwise; the host
// chooses.
#define MLP_FORWARD(ROWS)                                                                         \
    PASS_KERNEL mlp_forward_##ROWS(                                                               \
        const __grid_constant__ Net net, const float *params,                                     \
        const __grid_constant__ Input input, const float *x0, const float *x1,                    \
        const float *x2, int rows, int widest, float *out, float *activation,                     \
        float *before, float *inverse_std, const float *base, int base_repeat,                    \
        float *actions, const __grid_constant__ Lanes lanes)                                      \
    {                                                                                             \
        enter_lane(lanes, params, x0, x1, x2, out, activation, before, inverse_std, base,         \
                   actions);                                                                      \
        mlp_forward<ROWS>(net, params, input, x0, x1, x2, rows, widest, out,                      \
                          Saved{activation, before, inverse_std}, base, base_repeat,              \
                          actions);                                                               \
    }

MLP_FORWARD(16)
MLP_FORWARD(8)
