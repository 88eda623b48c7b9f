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

// The sums of `dense_transposed`, TOGETHER as in `four`.
template <int ROWS, bool TOGETHER>
__device__ __forceinline__ void transposed_sums(const Share &by, const float *__restrict__ weight,
                                                int in, int out, const float *g, float *y,
                                                float *parts)
{
    // Outputs of a step: two of the matrix units', since a lane's four lie side by side.
    constexpr int STEP = 16;
    const Lane lane = this_lane();
    for (int span = by.span; span < by.spans; span += WARPS) {
        float4 ahead[TILES];
        const auto ask = [&](int j0) {
            const int j = j0 + 4 * lane.step;
#pragma unroll
            for (int t = 0; t < TILES; ++t) {
                const int k = span * SPAN + 8 * t + lane.line;
                ahead[t] = four<TOGETHER>(weight + k * out + j, k < in ? out - j : 0);
            }
        };
        float sum[TILES][4] = {};
        ask(STEP * by.group);
        for (int j0 = STEP * by.group; j0 < out; j0 += STEP * by.groups) {
            float4 w[TILES];
#pragma unroll
            for (int t = 0; t < TILES; ++t)
                w[t] = ahead[t];
            ask(j0 + STEP * by.groups);
            const int j = j0 + 4 * lane.step;
            const Halves<4> first = rows_of<ROWS>(g, out, j, j + 1, lane.line);
            const Halves<4> second = rows_of<ROWS>(g, out, j + 2, j + 3, lane.line);
#pragma unroll
            for (int t = 0; t < TILES; ++t) {
                add_product(sum[t], first, w[t].x, w[t].y);
                add_product(sum[t], second, w[t].z, w[t].w);
            }
        }
        put_sums<ROWS>(by, in, sum, nullptr, y, parts,
                       [=](int t, int n) { return span * SPAN + 8 * t + n; });
    }
}

// y = g W^T for a tile: `g` [out, ROWS], `y` [in, ROWS], `weight` [in, out].
// `parts` is [PARTS, ROWS]. Whoever has just written `g` need not wait.
template <int ROWS>
__device__ void dense_transposed(const float *__restrict__ weight, int in, int out, const float *g,
                                 float *y, float *parts)
{
    __syncthreads();
    const Share by = share(in);
    if (by.group < by.groups) {
        if (by_fours(weight, out))
            transposed_sums<ROWS, true>(by, weight, in, out, g, y, parts);
        else
            transposed_sums<ROWS, false>(by, weight, in, out, g, y, parts);
    }
    add_parts<ROWS>(by, in, parts, nullptr, y);
}

// Gradient through activation, gain and normalization of hidden layer `layer`,
// in place on `g` [width, ROWS]: with d = gain * masked,
//   g = inverse_std * (d - mean(d) - n * mean(d * n))
// Writes `masked`, the gradient before the activation (for gain and shift), and
// `g` to global memory.
template <int ROWS>
__device__ void norm_activate_backward(const Net &net, int layer, const float *__restrict__ gain,
                                       float *g, float *partial, const Saved &saved,
                                       float *delta, float *masked, int first_row, int rows)
{
    const int width = net.width[layer + 1];
    const int row = first_row + threadIdx.x % ROWS;
    const bool inside = row < rows;
    const int at = rows * widths_before(net, layer) + row * width;
    const bool norm = normalized(net, layer);
    for (int e = threadIdx.x; e < width * ROWS; e += THREADS) {
        const int j = e / ROWS;
        float d = inside ? g[e] : 0.0f;
        if (net.gelu && inside) {
            const float before = saved.before[at + j];
            // The shift lies behind the gain.
            d *= gelu_slope(norm ? gain[j] * before + gain[width + j] : before);
        } else if (inside && !(saved.activation[at + j] > 0.0f)) {
            d = 0.0f; // PyTorch's rule: no gradient at zero
        }
        if (norm && inside) {
            if (masked)
                masked[at + j] = d;
            d *= gain[j];
        }
        g[e] = d;
    }
    float mean = 0.0f;
    float along = 0.0f;
    if (norm) {
        __syncthreads();
        const float *n = saved.before + at;
        mean = row_sum<ROWS>(width, partial, [=](int, int e) { return g[e]; }) / width;
        const auto product = [=](int j, int e) { return inside ? g[e] * n[j] : 0.0f; };
        along = row_sum<ROWS>(width, partial, product) / width;
    }
    for (int e = threadIdx.x; e < width * ROWS; e += THREADS) {
        const int j = e / ROWS;
        if (norm && inside)
            g[e] = saved.inverse_std[rows * layer + row] *
                   (g[e] - mean - saved.before[at + j] * along);
        if (delta && inside)
            delta[at + j] = g[e];
    }
}

// grid (ceil(rows / ROWS), nets). `delta` is [nets, rows * sum of all widths],
// layer after layer, and `masked` likewise without the last layer; both null
// when only the input's gradient is asked for. `grad_x` is
// [nets, rows, width[0]] or null. `out` is read only under a tanh head. Dynamic
// shared memory, in floats: ROWS * (2 * widest layer + PARTS).
template <int ROWS>
__device__ void mlp_backward_rows(const Net &net, const float *params, int rows, int widest,
                                  Saved saved, const float *out, const float *grad_out,
                                  float *delta, float *masked, float *grad_x)
{
    DYNAMIC_SHARED(shared);
    float *g = shared;
    float *below = g + widest * ROWS;
    float *work = below + widest * ROWS;
    const int first_row = blockIdx.x * ROWS;
    const int member = blockIdx.y;
    const int last = net.layers - 1;
    const int width = net.width[net.layers];
    const int hidden = rows * widths_before(net, last);
    params += member * next_net(net);
    saved.activation += member * hidden;
    saved.before += keeps_before(net) ? member * hidden : 0;
    saved.inverse_std += net.layer_norm ? member * rows * last : 0;
    delta += delta ? member * (hidden + rows * width) : 0;
    masked += masked ? member * hidden : 0;

    for (int e = threadIdx.x; e < width * ROWS; e += THREADS) {
        const int j = e % width;
        const int row = first_row + e / width;
        const int at = (member * rows + row) * width + j;
        float d = row < rows ? grad_out[at] : 0.0f;
        if (net.tanh_head && row < rows) // scale (1 - tanh^2), of out = scale tanh
            d *= net.scale - out[at] * out[at] / net.scale;
        g[j * ROWS + e / width] = d;
        if (delta && row < rows)
            delta[hidden + row * width + j] = d;
    }

    int end = parameters(net);
    for (int layer = last; layer > 0 || (layer == 0 && grad_x); --layer) {
        const float *weight = params + end - layer_parameters(net, layer);
        end -= layer_parameters(net, layer);
        const int in = net.width[layer];
        dense_transposed<ROWS>(weight, in, net.width[layer + 1], g, below, work);
        float *other = g;
        g = below;
        below = other;
        if (layer > 0) {
            // Gain and shift of the layer below end where this weight begins.
            norm_activate_backward<ROWS>(net, layer - 1, weight - 2 * in, g, work, saved, delta,
                                         masked, first_row, rows);
            continue;
        }
        for (int e = threadIdx.x; e < in * ROWS; e += THREADS) {
            const int row = first_row + e / in;
            if (row < rows)
                grad_x[(member * rows + row) * in + e % in] = g[(e % in) * ROWS + e / in];
        }
    }
}

#define MLP_BACKWARD_ROWS(ROWS)                                                                   \
    KERNEL mlp_backward_rows_##ROWS(                                                              \
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
constexpr int DEPTH = 16;
constexpr int PITCH = TILE + 8;
// Numbers of a stage that a thread brings: rows BESIDE apart of one column.
constexpr int BROUGHT = DEPTH * TILE / THREADS;
constexpr int BESIDE = THREADS / TILE;

__device__ __forceinline__ int ceil_div(int a, int b)
{
    return (a + b - 1) / b;
}

// One column of a matrix whose rows each stand for `repeat` rows in turn; null is
// a column of zeros.
struct Column {
    const float *values;
    int pitch;
    int repeat;
};

__device__ __forceinline__ float column_at(const Column &column, int row)
{
    if (!column.values)
        return 0.0f;
    return column.values[(column.repeat > 1 ? row / column.repeat : row) * column.pitch];
}

// Column `k` of a network's input.
__device__ __forceinline__ Column input_column(const Input &input, const float *x0,
                                               const float *x1, const float *x2, int k)
{
    if (k < input.width[0])
        return {x0 + k, input.width[0], input.repeat[0]};
    k -= input.width[0];
    if (k < input.width[1])
        return {x1 + k, input.width[1], input.repeat[1]};
    return {x2 + k - input.width[1], input.width[2], input.repeat[2]};
}

// grid (tiles of all layers, nets, splits). Split `s` covers `split_rows` rows
// and writes its part of the gradient, laid out as the parameters, to `grad[s]`. `activation`, `delta`, `masked` and `before` are those of the
// passes before.
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
    // The unused floats between nets are the optimizer's, too.
    const int last = gridDim.y - 1;
    grad += split * (last * next_net(net) + parameters(net)) + member * next_net(net);
    if (member < last && blockIdx.x == 0 && threadIdx.x < next_net(net) - parameters(net))
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

    // What this thread brings: of each side one column.
    const int brought_row = threadIdx.x / TILE;
    const int brought = threadIdx.x % TILE;
    Column h_column = {nullptr, 0, 1};
    Column g_column = {nullptr, 0, 1};
    if (k0 + brought < in)
        h_column = layer > 0 ? Column{activation + rows * widths_before(net, layer - 1) + k0 + brought,
                                      in, 1}
                             : input_column(input, x0, x1, x2, k0 + brought);
    if (j0 + brought < out)
        g_column = {delta + rows * widths_before(net, layer) + j0 + brought, out, 1};
    float h_ahead[BROUGHT];
    float g_ahead[BROUGHT];
    const auto ask = [&](int row0) {
#pragma unroll
        for (int i = 0; i < BROUGHT; ++i) {
            const int row = row0 + brought_row + i * BESIDE;
            h_ahead[i] = row < end_row ? column_at(h_column, row) : 0.0f;
            g_ahead[i] = row < end_row ? column_at(g_column, row) : 0.0f;
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
            h[stage][brought_row + i * BESIDE][brought] = h_ahead[i];
            g[stage][brought_row + i * BESIDE][brought] = g_ahead[i];
        }
        // Whoever still reads the stage before last has not passed the barrier before.
        __syncthreads();
        ask(row0 + DEPTH);
#pragma unroll
        for (int d = lane.step; d < DEPTH; d += 8) {
            const float a[4] = {h[stage][d][tk], h[stage][d][tk + 8], h[stage][d + 4][tk],
                                h[stage][d + 4][tk + 8]};
            const Halves<4> inputs = halves(a);
            const int j = tj + 4 * lane.line;
            const float4 b = *reinterpret_cast<const float4 *>(&g[stage][d][j]);
            const float4 c = *reinterpret_cast<const float4 *>(&g[stage][d + 4][j]);
            add_product(sum[0], inputs, b.x, c.x);
            add_product(sum[1], inputs, b.y, c.y);
            add_product(sum[2], inputs, b.z, c.z);
            add_product(sum[3], inputs, b.w, c.w);
        }
        if (k0 == 0 && threadIdx.x < TILE)
#pragma unroll
            for (int d = 0; d < DEPTH; ++d)
                bias += g[stage][d][threadIdx.x];
        stage ^= 1;
    }
#pragma unroll
    for (int t = 0; t < TILES; ++t)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int k = k0 + tk + i / 2 * 8;
            const int j = j0 + tj + 4 * (2 * lane.step + i % 2) + t;
            if (k < in && j < out)
                grad[k * out + j] = sum[t][i];
        }

    // Bias, gain and shift belong to the outputs alone: the blocks of the first
    // inputs do them.
    const int j = j0 + threadIdx.x;
    if (k0 > 0 || threadIdx.x >= TILE || j >= out)
        return;
    grad += in * out;
    grad[j] = bias;
    if (!normalized(net, layer))
        return;
    const int at = member * hidden + rows * widths_before(net, layer);
    float gain = 0.0f;
    float shift = 0.0f;
    for (int row = first_row; row < end_row; ++row) {
        const float d = masked[at + row * out + j];
        gain += d * before[at + row * out + j];
        shift += d;
    }
    grad[out + j] = gain;
    grad[2 * out + j] = shift;
}
