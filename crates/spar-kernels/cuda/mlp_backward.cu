// Backward pass of an ensemble of networks of one shape, in two launches and,
// where the rows are split for parallelism, a third that adds the splits.
//
// With G_l the gradient before layer l's norm and activation and H_l its input,
//   G_L = grad_out * head',  G_{l-1} = norm'(act'(G_l W_l^T)),   (rows)
//   dW_l = H_l^T G_l,        db_l = sum over rows of G_l          (weights)
// The first kernel walks a tile of rows down the layers and writes every G_l;
// the second computes all tiles of all dW_l. No sum crosses a block by atomics:
// the order is fixed by the launch.
#include "network.cuh"

// Outputs of a layer whose weights are staged at a time.
constexpr int STAGE = 16;
// One float of padding per staged row, so that neither the transposing writes
// nor the reads meet in one bank.
constexpr int PITCH = THREADS + 1;

// y = g W^T for a tile: `g` [out, ROWS], `y` [in, ROWS], `weight` [in, out].
// A thread owns an input column, whose weights are `out` apart from its
// neighbour's; so the block reads them in the order they lie and hands them
// over through `stage`, [STAGE, PITCH]. `g` is read only after the first of the
// barriers in here: whoever has just written it need not wait.
template <int ROWS>
__device__ void dense_transposed(const float *__restrict__ weight, int in, int out, const float *g,
                                 float *y, float *stage)
{
    for (int k0 = 0; k0 < in; k0 += THREADS) {
        const int k = k0 + threadIdx.x;
        float sum[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; ++r)
            sum[r] = 0.0f;
        for (int j0 = 0; j0 < out; j0 += STAGE) {
            for (int e = threadIdx.x; e < THREADS * STAGE; e += THREADS) {
                const int row = k0 + e / STAGE;
                const int j = j0 + e % STAGE;
                stage[(e % STAGE) * PITCH + e / STAGE] =
                    row < in && j < out ? weight[row * out + j] : 0.0f;
            }
            __syncthreads();
            const int count = min(STAGE, out - j0);
            for (int j = 0; j < count; ++j)
                add_column<ROWS>(stage[j * PITCH + threadIdx.x], g + (j0 + j) * ROWS, sum);
            // Before the next weights overwrite what a slow thread still reads.
            __syncthreads();
        }
        if (k < in) {
#pragma unroll
            for (int r = 0; r < ROWS; ++r)
                y[k * ROWS + r] = sum[r];
        }
    }
    __syncthreads();
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
// shared memory, in floats: 2 * ROWS * widest layer + STAGE * PITCH, of which
// the last part also serves the sums over a row.
template <int ROWS>
__device__ void mlp_backward_rows(const Net &net, const float *params, int rows, int widest,
                                  Saved saved, const float *out, const float *grad_out,
                                  float *delta, float *masked, float *grad_x)
{
    DYNAMIC_SHARED(shared);
    float *g = shared;
    float *below = g + widest * ROWS;
    float *stage = below + widest * ROWS;
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
        dense_transposed<ROWS>(weight, in, net.width[layer + 1], g, below, stage);
        float *other = g;
        g = below;
        below = other;
        if (layer > 0) {
            // Gain and shift of the layer below end where this weight begins.
            norm_activate_backward<ROWS>(net, layer - 1, weight - 2 * in, g, stage, saved, delta,
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

__device__ __forceinline__ int ceil_div(int a, int b)
{
    return (a + b - 1) / b;
}

// grid (tiles of all layers, nets, splits). Split `s` covers `split_rows` rows
// and writes its part of the flat gradient to `grad[s]`, [splits, nets,
// parameters]; with one split that is the gradient itself. `hidden`, the
// activations, and `delta`, `masked` and `before` are those of the passes
// before.
KERNEL mlp_backward_weights(const __grid_constant__ Net net, const __grid_constant__ Input input,
                         const float *x0, const float *x1, const float *x2, int rows,
                         int split_rows, const float *activation, const float *before,
                         const float *delta, const float *masked, float *grad)
{
    __shared__ float h[DEPTH][TILE + 1];
    __shared__ float g[DEPTH][TILE + 1];
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
    const float *h_rows = layer > 0 ? activation + rows * widths_before(net, layer - 1) : nullptr;
    const float *g_rows = delta + rows * widths_before(net, layer);

    float sum[SIDE][SIDE] = {};
    float bias = 0.0f;
    const int tk = threadIdx.x / (TILE / SIDE);
    const int tj = threadIdx.x % (TILE / SIDE);
    for (int row0 = first_row; row0 < end_row; row0 += DEPTH) {
        for (int e = threadIdx.x; e < DEPTH * TILE; e += THREADS) {
            const int row = row0 + e / TILE;
            const int k = k0 + e % TILE;
            const int j = j0 + e % TILE;
            float value = 0.0f;
            if (row < end_row && k < in)
                value = layer > 0 ? h_rows[row * in + k] : input_at(input, x0, x1, x2, row, k);
            h[e / TILE][e % TILE] = value;
            g[e / TILE][e % TILE] = row < end_row && j < out ? g_rows[row * out + j] : 0.0f;
        }
        __syncthreads();
        for (int d = 0; d < DEPTH; ++d) {
            float a[SIDE];
            float b[SIDE];
#pragma unroll
            for (int i = 0; i < SIDE; ++i) {
                // Strided by the threads, so that a warp reads neighbours.
                a[i] = h[d][tk + i * (TILE / SIDE)];
                b[i] = g[d][tj + i * (TILE / SIDE)];
            }
#pragma unroll
            for (int i = 0; i < SIDE; ++i)
#pragma unroll
                for (int l = 0; l < SIDE; ++l)
                    sum[i][l] += a[i] * b[l];
        }
        if (k0 == 0 && threadIdx.x < TILE)
            for (int d = 0; d < DEPTH; ++d)
                bias += g[d][threadIdx.x];
        // Before the next rows overwrite what a slow thread still reads.
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < SIDE; ++i)
#pragma unroll
        for (int l = 0; l < SIDE; ++l) {
            const int k = k0 + tk + i * (TILE / SIDE);
            const int j = j0 + tj + l * (TILE / SIDE);
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

// out[i] = sum over splits of part[split, i], in order. grid (ceil(count / THREADS)).
KERNEL sum_splits(const float *part, int splits, int count, float *out)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= count)
        return;
    float sum = 0.0f;
    for (int split = 0; split < splits; ++split)
        sum += part[split * count + i];
    out[i] = sum;
}
