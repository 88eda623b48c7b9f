// Backward pass of an ensemble of networks of one shape, in two launches.
//
// With G_l the gradient before layer l's norm and activation and H_l its input,
//   G_L = grad_out * head',  G_{l-1} = norm'(act'(G_l W_l^T)),   (rows)
//   dW_l = H_l^T G_l,        db_l = sum over rows of G_l          (weights)
// The first kernel walks a tile of rows down the layers and writes every G_l;
// the second computes all tiles of all dW_l, over the rows of a split: the
// optimizer adds the splits. No sum crosses a block by atomics: the order is
// fixed by the launch.
#include "network.cuh"

// Gradient through the activation of a hidden layer of `width`, in place on a tile `g`
// [ROWS, pitch], and to global memory. A warp takes a row. `place` is where the layer's part
// of what is kept begins.
template <int ROWS>
__device__ __forceinline__ void activate_backward(const Net &net, int width, float *g, int pitch,
                                                  const Saved &saved, int place, float *delta,
                                                  int first_row, int rows)
{
    // Of a ReLU the activation says which way it went; PyTorch's rule: no gradient at zero.
    const auto back = [&](float d, float x) {
        return net.gelu ? d * gelu_slope(x) : x > 0.0f ? d : 0.0f;
    };
    for (int r = threadIdx.x / WARP; r < ROWS && first_row + r < rows; r += WARPS) {
        const int at = place + (first_row + r) * width;
        const float *kept = (net.gelu ? saved.before : saved.activation) + at;
        for (int j0 = threadIdx.x % WARP * 4; j0 < width; j0 += 2 * LINE) {
            // Both are asked for before either is written.
            const float4 x[2] = {four_of(kept, width, j0), four_of(kept, width, j0 + LINE)};
#pragma unroll
            for (int q = 0; q < 2; ++q) {
                const int j = j0 + q * LINE;
                if (j >= width)
                    continue;
                float4 &to = *reinterpret_cast<float4 *>(g + r * pitch + j);
                const float4 d = {back(to.x, x[q].x), back(to.y, x[q].y), back(to.z, x[q].z),
                                  back(to.w, x[q].w)};
                to = d;
                if (delta)
                    put_four(delta + at, width, j, d);
            }
        }
    }
}

// Gradient through activation, gain and normalization of hidden layer `layer`,
// in place on a tile `g` [ROWS, pitch]: with d = gain * masked,
//   g = inverse_std * (d - mean(d) - n * mean(d * n))
// Writes `masked`, the gradient before the activation (for gain and shift), and
// `g` to global memory. A warp takes a row. `place` is where the layer's part of what is
// kept begins.
template <int ROWS>
__device__ __forceinline__ void norm_activate_backward(const Net &net, int layer,
                                                       const float *__restrict__ gain, float *g,
                                                       int pitch, const Saved &saved, int place,
                                                       float *delta, float *masked,
                                                       int first_row, int rows)
{
    const int width = net.width[layer + 1];
    const int first = threadIdx.x % WARP * 4;
    const float *shift = gain + width;
    for (int r = threadIdx.x / WARP; r < ROWS && first_row + r < rows; r += WARPS) {
        float *line = g + r * pitch;
        const int row = first_row + r;
        const int at = place + row * width;
        const float inverse = saved.inverse_std[rows * layer + row];
        float sum = 0.0f;
        float along = 0.0f;
        for (int j0 = first; j0 < width; j0 += 2 * LINE) {
            // All of both is asked for before either is written.
            float4 n[2];
            float4 gains[2];
            float4 kept[2]; // of the activation, or the shift
#pragma unroll
            for (int q = 0; q < 2; ++q) {
                const int j = j0 + q * LINE;
                n[q] = four_of(saved.before + at, width, j);
                gains[q] = four_of(gain, width, j);
                kept[q] = four_of(net.gelu ? shift : saved.activation + at, width, j);
            }
#pragma unroll
            for (int q = 0; q < 2; ++q) {
                const int j = j0 + q * LINE;
                if (j >= width)
                    continue;
                float4 &to = *reinterpret_cast<float4 *>(line + j);
                // PyTorch's rule of a ReLU: no gradient at zero.
                const auto back = [&](float d, float n, float gain, float kept) {
                    return net.gelu ? d * gelu_slope(gain * n + kept) : kept > 0.0f ? d : 0.0f;
                };
                const float4 d = {back(to.x, n[q].x, gains[q].x, kept[q].x),
                                  back(to.y, n[q].y, gains[q].y, kept[q].y),
                                  back(to.z, n[q].z, gains[q].z, kept[q].z),
                                  back(to.w, n[q].w, gains[q].w, kept[q].w)};
                if (masked)
                    put_four(masked + at, width, j, d);
                // Zero after the last column, as the gain is.
                const float4 e = {d.x * gains[q].x, d.y * gains[q].y, d.z * gains[q].z,
                                  d.w * gains[q].w};
                to = e;
                sum += (e.x + e.y) + (e.z + e.w);
                along += (e.x * n[q].x + e.y * n[q].y) + (e.z * n[q].z + e.w * n[q].w);
            }
        }
        sum = warp_sum(sum) / width;
        along = warp_sum(along) / width;
        for (int j0 = first; j0 < width; j0 += 2 * LINE) {
            const float4 n[2] = {four_of(saved.before + at, width, j0),
                                 four_of(saved.before + at, width, j0 + LINE)};
#pragma unroll
            for (int q = 0; q < 2; ++q) {
                const int j = j0 + q * LINE;
                if (j >= width)
                    continue;
                float4 &to = *reinterpret_cast<float4 *>(line + j);
                const float4 d = {inverse * (to.x - sum - n[q].x * along),
                                  inverse * (to.y - sum - n[q].y * along),
                                  inverse * (to.z - sum - n[q].z * along),
                                  inverse * (to.w - sum - n[q].w * along)};
                to = d;
                if (delta)
                    put_four(delta + at, width, j, d);
            }
        }
    }
}

// grid (ceil(rows / ROWS), nets). `delta` is [nets, rows * sum of all widths],
// layer after layer, and `masked` likewise without the last layer; both null
// when only the input's gradient is asked for. `grad_x` is
// [nets, rows, width[0]] or null. `out` is read only under a tanh head. Dynamic
// shared memory, in floats: ROWS * (2 * pitch_of(widest layer) + PARTS).
template <int ROWS>
__device__ __forceinline__ void mlp_backward_rows(const Net &net, const float *params, int rows,
                                                  int widest, Saved saved, const float *out,
                                                  const float *grad_out, float *delta,
                                                  float *masked, float *grad_x)
{
    DYNAMIC_SHARED(shared);
    const int pitch = pitch_of(widest);
    float *g = shared;
    float *below = g + pitch * ROWS;
    float *parts = below + pitch * ROWS;
    const int first_row = blockIdx.x * ROWS;
    const int member = blockIdx.y;
    const int last = net.layers - 1;
    const int hidden = rows * widths_before(net, last);
    params += member * next_net(net);
    saved.activation += member * hidden;
    saved.before += keeps_before(net) ? member * hidden : 0;
    saved.inverse_std += net.layer_norm ? member * rows * last : 0;
    delta += delta ? member * (hidden + rows * net.width[net.layers]) : 0;
    masked += masked ? member * hidden : 0;

    const int width = net.width[net.layers];
    for (int r = threadIdx.x / WARP; r < ROWS; r += WARPS) {
        const int row = first_row + r;
        // Zeros after the last column, as `product` asks.
        for (int j = threadIdx.x % WARP; j < width + DEEP; j += WARP) {
            float d = 0.0f;
            if (row < rows && j < width) {
                const int at = (member * rows + row) * width + j;
                d = grad_out[at];
                if (net.tanh_head) // scale (1 - tanh^2), of out = scale tanh
                    d *= net.scale - out[at] * out[at] / net.scale;
                if (delta)
                    delta[hidden + row * width + j] = d;
            }
            g[r * pitch + j] = d;
        }
    }

    int place = hidden;
    int end = parameters(net);
    for (int layer = last; layer > 0 || (layer == 0 && grad_x); --layer) {
        end -= layer_parameters(net, layer);
        const float *weight = params + end;
        const int in = net.width[layer];
        product<ROWS, true>(weight, nullptr, net.width[layer + 1], in, g, pitch, below, pitch,
                            parts);
        float *other = g;
        g = below;
        below = other;
        if (layer == 0) {
            for (int r = threadIdx.x / WARP; r < ROWS && first_row + r < rows; r += WARPS)
                for (int j = threadIdx.x % WARP; j < in; j += WARP)
                    grad_x[(member * rows + first_row + r) * in + j] = g[r * pitch + j];
            return;
        }
        place -= rows * in;
        if (normalized(net, layer - 1)) {
            // Gain and shift of the layer below end where this weight begins.
            norm_activate_backward<ROWS>(net, layer - 1, weight - 2 * in, g, pitch, saved, place,
                                         delta, masked, first_row, rows);
        } else {
            activate_backward<ROWS>(net, in, g, pitch, saved, place, delta, first_row, rows);
        }
    }
}

#define MLP_BACKWARD_ROWS(ROWS)                                                                   \
    PASS_KERNEL mlp_backward_rows_##ROWS(                                                         \
        const __grid_constant__ Net net, const float *params, int rows, int widest,               \
        float *activation, float *before, float *inverse_std, const float *out,                   \
        const float *grad_out, float *delta, float *masked, float *grad_x,                        \
        const __grid_constant__ Lanes lanes)                                                      \
    {                                                                                             \
        enter_lane(lanes, params, activation, before, inverse_std, out, grad_out, delta,          \
                   masked, grad_x);                                                               \
        mlp_backward_rows<ROWS>(net, params, rows, widest,                                        \
                                Saved{activation, before, inverse_std}, out, grad_out,            \
                                delta, masked, grad_x);                                           \
    }

MLP_BACKWARD_ROWS(16)
MLP_BACKWARD_ROWS(8)

// A block computes a TILE by TILE piece of one layer's weight gradient; a
// warp 16 inputs by SPAN outputs of it.
constexpr int TILE = 64;
// Rows staged at a time, and floats of a staged row, padded so that the lanes of a
// warp meet in no bank.
constexpr int DEPTH = 32;
constexpr int PITCH = TILE + 8;
// Threads that bring a row, four neighbours each, and rows a thread brings, BESIDE apart.
constexpr int FOURS = TILE / 4;
constexpr int BESIDE = THREADS / FOURS;
constexpr int BROUGHT = DEPTH / BESIDE;

__device__ __forceinline__ int ceil_div(int a, int b)
{
    return (a + b - 1) / b;
}

// Four neighbouring columns of a matrix, whose last is `left - 1` columns after the first.
struct Columns {
    const float *values;
    int pitch;
    int left;
    bool together;
};

__device__ __forceinline__ Columns columns_of(const float *matrix, int width, int first)
{
    return {matrix + first, width, width - first, by_fours(matrix, width)};
}

__device__ __forceinline__ float4 columns_at(const Columns &columns, int row)
{
    const float *values = columns.values + row * columns.pitch;
    return columns.together ? four<true>(values, columns.left)
                            : four<false>(values, columns.left);
}

// Those from `first` on of a network's input.
__device__ __forceinline__ float4 inputs_at(const Input &input, const float *x0, const float *x1,
                                            const float *x2, int width, int row, int first)
{
    const InputRow from = row_of(input, x0, x1, x2, row);
    const auto at = [&](int column) { return column < width ? column_of(from, column) : 0.0f; };
    return float4{at(first), at(first + 1), at(first + 2), at(first + 3)};
}

// grid (tiles of all layers, nets, splits). Split `s` covers `split_rows` rows
// and writes its part of the gradient, laid out as the parameters, to `grad[s]`.
// `activation`, `delta`, `masked` and `before` are those of the passes before.
KERNEL mlp_backward_weights(const __grid_constant__ Net net, const __grid_constant__ Input input,
                            const float *x0, const float *x1, const float *x2, int rows,
                            int split_rows, const float *activation, const float *before,
                            const float *delta, const float *masked, float *grad,
                            const __grid_constant__ Lanes lanes)
{
    enter_lane(lanes, x0, x1, x2, activation, before, delta, masked, grad);
    // Two stages, so that one is filled while the other is read.
    __shared__ __align__(16) float h[2][DEPTH][PITCH];
    __shared__ __align__(16) float g[2][DEPTH][PITCH];
    const int member = blockIdx.y;
    const int hidden = rows * widths_before(net, net.layers - 1);
    const int split = z_in_lane(lanes);
    const int first_row = split * split_rows;
    const int end_row = min(rows, first_row + split_rows);
    activation += member * hidden;
    delta += member * (hidden + rows * net.width[net.layers]);
    grad += (split * static_cast<int>(gridDim.y) + member) * next_net(net);
    // The unused floats after each net are the optimizer's, too.
    if (blockIdx.x == 0 && threadIdx.x < next_net(net) - parameters(net))
        grad[parameters(net) + threadIdx.x] = 0.0f;

    // Which layer, and which piece of its weight.
    int layer = 0;
    int tile = blockIdx.x;
    while (tile >= ceil_div(net.width[layer], TILE) * ceil_div(net.width[layer + 1], TILE)) {
        tile -= ceil_div(net.width[layer], TILE) * ceil_div(net.width[layer + 1], TILE);
        grad += layer_parameters(net, layer);
        ++layer;
    }
    const int in = net.width[layer];
    const int out = net.width[layer + 1];
    const int k0 = tile / ceil_div(out, TILE) * TILE;
    const int j0 = tile % ceil_div(out, TILE) * TILE;

    // What this thread brings.
    const int row_brought = threadIdx.x / FOURS;
    const int brought = threadIdx.x % FOURS * 4;
    const Columns h_columns = columns_of(
        layer > 0 ? activation + rows * widths_before(net, layer - 1) : nullptr, in, k0 + brought);
    const Columns g_columns = columns_of(delta + rows * widths_before(net, layer), out, j0 + brought);
    float4 h_ahead[BROUGHT];
    float4 g_ahead[BROUGHT];
    const auto ask = [&](int row0) {
#pragma unroll
        for (int i = 0; i < BROUGHT; ++i) {
            const int row = row0 + row_brought + i * BESIDE;
            h_ahead[i] = g_ahead[i] = float4{0.0f, 0.0f, 0.0f, 0.0f};
            if (row >= end_row)
                continue;
            h_ahead[i] = layer > 0 ? columns_at(h_columns, row)
                                   : inputs_at(input, x0, x1, x2, in, row, k0 + brought);
            g_ahead[i] = columns_at(g_columns, row);
        }
    };

    float sum[TILES][4] = {};
    float bias = 0.0f;
    const Lane lane = this_lane();
    const int warp = threadIdx.x / WARP;
    const int tk = warp / (TILE / SPAN) * 16 + lane.line;
    // Column n of tile t is column 4 n + t of the span: a lane's are neighbours.
    const int tj = warp % (TILE / SPAN) * SPAN;
    int stage = 0;
    ask(first_row);
    for (int row0 = first_row; row0 < end_row; row0 += DEPTH) {
#pragma unroll
        for (int i = 0; i < BROUGHT; ++i) {
            const int d = row_brought + i * BESIDE;
            *reinterpret_cast<float4 *>(&h[stage][d][brought]) = h_ahead[i];
            *reinterpret_cast<float4 *>(&g[stage][d][brought]) = g_ahead[i];
        }
        // Whoever still reads the stage before last has not passed the barrier before.
        __syncthreads();
        ask(row0 + DEPTH);
#pragma unroll 1
        for (int d = lane.step; d < DEPTH; d += DEEP) {
            Halves<4> inputs[2];
            Steps<2> outputs[TILES];
            float of[2][2][4];
#pragma unroll
            for (int step = 0; step < 2; ++step) {
                const int e = d + 8 * step;
                const float a[4] = {h[stage][e][tk], h[stage][e][tk + 8], h[stage][e + 4][tk],
                                    h[stage][e + 4][tk + 8]};
                inputs[step] = halves(a);
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const float4 v = *reinterpret_cast<const float4 *>(
                        &g[stage][e + 4 * half][tj + 4 * lane.line]);
#pragma unroll
                    for (int t = 0; t < TILES; ++t)
                        of[step][half][t] = at_of(v, t);
                }
            }
#pragma unroll
            for (int t = 0; t < TILES; ++t) {
                const float both[2][2] = {{of[0][0][t], of[0][1][t]}, {of[1][0][t], of[1][1][t]}};
                outputs[t] = {halves(both[0]), halves(both[1])};
            }
            add_products<TILES>(sum, {inputs[0], inputs[1]}, outputs);
        }
        if (k0 == 0 && threadIdx.x < TILE)
#pragma unroll
            for (int d = 0; d < DEPTH; ++d)
                bias += g[stage][d][threadIdx.x];
        stage ^= 1;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int k = k0 + tk + i / 2 * 8;
        const int j = j0 + tj + 4 * (2 * lane.step + i % 2);
        if (k < in)
            put_four(grad + k * out, out, j,
                     float4{sum[0][i], sum[1][i], sum[2][i], sum[3][i]});
    }

    // Bias, gain and shift belong to the outputs alone: the blocks of the first
    // inputs do them.
    if (k0 > 0)
        return;
    grad += in * out;
    const int column = threadIdx.x % TILE;
    const int j = j0 + column;
    if (threadIdx.x < TILE && j < out)
        grad[j] = bias;
    if (!normalized(net, layer))
        return;
    // Every fourth row by a quarter of the threads, then the four in order.
    constexpr int TURNS = THREADS / TILE;
    __shared__ float part_sums[2][TURNS][TILE];
    const int turn = threadIdx.x / TILE;
    const int at = member * hidden + rows * widths_before(net, layer) + j;
    float gain = 0.0f;
    float shift = 0.0f;
#pragma unroll 4
    for (int row = first_row + turn; row < end_row && j < out; row += TURNS) {
        const float d = masked[at + row * out];
        gain += d * before[at + row * out];
        shift += d;
    }
    part_sums[0][turn][column] = gain;
    part_sums[1][turn][column] = shift;
    __syncthreads();
    if (turn > 1 || j >= out)
        return;
    float all = 0.0f;
    for (int part = 0; part < TURNS; ++part)
        all += part_sums[turn][part][column];
    grad[(1 + turn) * out + j] = all;
}
