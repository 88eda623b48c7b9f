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

// Outputs of a layer whose weights are staged at a time: what is on its way is in
// registers, of which sixteen rows need many for sums.
template <int ROWS> constexpr int STAGE = ROWS > 8 ? 8 : 16;
// Floats of a staged row, padded so that neither the transposing writes nor the
// reads meet in one bank.
template <int ROWS> constexpr int PITCH = THREADS + WARP / STAGE<ROWS>;
// Most groups that share a stage: for every ROWS as many, so that a row's sum does
// not depend on how many rows are beside it.
constexpr int STAGE_GROUPS = 8;

// y = g W^T for a tile: `g` [out, ROWS], `y` [in, ROWS], `weight` [in, out].
// A thread owns input columns, whose weights are `out` apart from its
// neighbour's; so the block reads them in the order they lie and hands them
// over through `work`, two stages of [STAGE, PITCH] floats, while the next are on their
// way; then the parts of the sums, [PARTS, ROWS]. `g` is read only after the
// first of the barriers in here: whoever has just written it need not wait.
template <int ROWS>
__device__ void dense_transposed(const float *__restrict__ weight, int in, int out, const float *g,
                                 float *y, float *work)
{
    constexpr int STAGED = STAGE<ROWS>;
    constexpr int APART = PITCH<ROWS>;
    constexpr int TOGETHER = ROWS > 8 ? 1 : 4;
    const int staged_row = threadIdx.x / STAGED;
    const int staged_column = threadIdx.x % STAGED;
    for (int k0 = 0; k0 < in; k0 += THREADS) {
        const int width = min(THREADS, in - k0);
        const Share by = share(width, STAGE_GROUPS);
        int column[COLUMNS];
#pragma unroll
        for (int i = 0; i < COLUMNS; ++i) // past the end the last, to no effect
            column[i] = min(by.first + i * by.owners, width - 1);
        float sum[COLUMNS][ROWS] = {};
        float ahead[STAGED];
        const auto ask = [&](int j0) {
            const int j = j0 + staged_column;
#pragma unroll
            for (int i = 0; i < STAGED; ++i) {
                const int row = staged_row + i * (THREADS / STAGED);
                ahead[i] = row < width && j < out ? weight[(k0 + row) * out + j] : 0.0f;
            }
        };
        ask(0);
        float *stage = work;
        float *other = work + STAGED * APART;
        for (int j0 = 0; j0 < out; j0 += STAGED) {
#pragma unroll
            for (int i = 0; i < STAGED; ++i)
                stage[staged_column * APART + staged_row + i * (THREADS / STAGED)] = ahead[i];
            // Whoever still reads the stage before last has not passed the barrier before.
            __syncthreads();
            ask(j0 + STAGED);
            if (by.group < by.groups) {
                const int count = min(STAGED, out - j0);
#pragma unroll TOGETHER
                for (int j = by.group; j < count; j += by.groups) {
                    float w[COLUMNS];
#pragma unroll
                    for (int i = 0; i < COLUMNS; ++i)
                        w[i] = stage[j * APART + column[i]];
                    add_products<ROWS>(w, g + (j0 + j) * ROWS, sum);
                }
            }
            float *free = other;
            other = stage;
            stage = free;
        }
        __syncthreads();
        put_parts<ROWS>(by, width, sum, work);
        __syncthreads();
        add_parts<ROWS>(by, width, work, nullptr, y + k0 * ROWS);
        // Before the next weights overwrite what a slow thread still reads.
        __syncthreads();
    }
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
// shared memory, in floats: 2 * ROWS * widest layer and, for the work of
// dense_transposed and the sums over a row, the larger of 2 * STAGE * PITCH and
// PARTS * ROWS.
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
    params += member * parameters(net);
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
        const float *grad_out, float *delta, float *masked, float *grad_x)                        \
    {                                                                                             \
        mlp_backward_rows<ROWS>(net, params, rows, widest,                                        \
                                Saved{activation, before, inverse_std}, out, grad_out,            \
                                delta, masked, grad_x);                                           \
    }

MLP_BACKWARD_ROWS(16)
MLP_BACKWARD_ROWS(4)

// A block computes a TILE by TILE piece of one layer's weight gradient; a
// thread SIDE by SIDE of it.
constexpr int TILE = 64;
constexpr int SIDE = 4;
// Rows staged at a time.
constexpr int DEPTH = 16;
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
// and writes its part of the flat gradient to `grad[s]`, [splits, nets,
// parameters]. `activation`, `delta`, `masked` and `before` are those of the
// passes before.
KERNEL mlp_backward_weights(const __grid_constant__ Net net, const __grid_constant__ Input input,
                         const float *x0, const float *x1, const float *x2, int rows,
                         int split_rows, const float *activation, const float *before,
                         const float *delta, const float *masked, float *grad)
{
    // Two stages, so that one is filled while the other is read.
    __shared__ __align__(16) float h[2][DEPTH][TILE];
    __shared__ __align__(16) float g[2][DEPTH][TILE];
    const int member = blockIdx.y;
    const int hidden = rows * widths_before(net, net.layers - 1);
    const int first_row = blockIdx.z * split_rows;
    const int end_row = min(rows, first_row + split_rows);
    activation += member * hidden;
    delta += member * (hidden + rows * net.width[net.layers]);
    grad += (blockIdx.z * gridDim.y + member) * parameters(net);

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

    float sum[SIDE][SIDE] = {};
    float bias = 0.0f;
    const int tk = threadIdx.x / (TILE / SIDE) * SIDE;
    const int tj = threadIdx.x % (TILE / SIDE) * SIDE;
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
        for (int d = 0; d < DEPTH; ++d) {
            const float4 a = *reinterpret_cast<const float4 *>(&h[stage][d][tk]);
            const float4 b = *reinterpret_cast<const float4 *>(&g[stage][d][tj]);
            const float as[SIDE] = {a.x, a.y, a.z, a.w};
            const float bs[SIDE] = {b.x, b.y, b.z, b.w};
#pragma unroll
            for (int i = 0; i < SIDE; ++i)
#pragma unroll
                for (int l = 0; l < SIDE; ++l)
                    sum[i][l] += as[i] * bs[l];
        }
        if (k0 == 0 && threadIdx.x < TILE)
#pragma unroll
            for (int d = 0; d < DEPTH; ++d)
                bias += g[stage][d][threadIdx.x];
        stage ^= 1;
    }
#pragma unroll
    for (int i = 0; i < SIDE; ++i)
#pragma unroll
        for (int l = 0; l < SIDE; ++l) {
            const int k = k0 + tk + i;
            const int j = j0 + tj + l;
            if (k < in && j < out)
                grad[k * out + j] = sum[i][l];
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
