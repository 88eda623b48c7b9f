// Executes the kernels on the CPU, exactly as they are written, so that they
// can be compared with the plain references where there is no GPU.
//
// The threads of a block are fibers, resumed in ascending or descending order
// between two waits. What one thread writes and another reads without a barrier
// between them comes out differently in one of the two orders. Memory a kernel
// has not written is NaN, and a write past the dynamic shared memory is found.

#include <setjmp.h>
#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "shim.h"

#include "mlp_forward.cu"
#include "mlp_backward.cu"
#include "value.cu"
#include "losses.cu"
#include "optim.cu"
#include "policy.cu"

namespace shim {

float *dynamic_shared;

namespace {

enum class State { runnable, at_block_barrier, at_warp_barrier, done };

struct Fiber {
    ucontext_t context; // to start it
    bool started;
    jmp_buf here; // to go on; unlike swapcontext, without a call of the kernel
    State state;
    int line; // of the barrier it waits at
    std::vector<char> stack = std::vector<char>(64 * 1024);
};

// Most threads of a block, and those of this launch.
constexpr int MOST = PASS_THREADS;
int threads;

Fiber fibers[MOST];
jmp_buf scheduler;
int current;
float lanes[MOST];
// Of a and b, lane by lane, for this product and the one before, which slow lanes
// may still read.
float tiles[2][MOST][6];
int products[MOST];
char message[256];
const char *error;

using Body = void (*)(void **);
Body body;
void **arguments;

const char *fail(const char *what, int line)
{
    std::snprintf(message, sizeof message, "%s (block %u %u %u, line %d)", what, blockIdx.x,
                  blockIdx.y, blockIdx.z, line);
    return error = message;
}

void wait(State state, int line)
{
    Fiber &fiber = fibers[current];
    fiber.state = state;
    fiber.line = line;
    if (_setjmp(fiber.here) == 0)
        _longjmp(scheduler, 1);
}

void run_thread()
{
    body(arguments);
    wait(State::done, 0);
}

// Lets a fiber run until it waits. Not inlined: a caller's variables must not
// live in registers that the jump restores.
__attribute__((noinline)) void resume(int t)
{
    current = t;
    threadIdx = {static_cast<unsigned>(t), 0, 0};
    if (_setjmp(scheduler) != 0)
        return;
    if (fibers[t].started)
        _longjmp(fibers[t].here, 1);
    fibers[t].started = true;
    setcontext(&fibers[t].context);
}

// Lets the fibers of `first .. first + count` go on if all wait at one barrier
// of this kind. A barrier only some reach is an error: on a GPU it hangs or
// worse.
bool release(int first, int count, State barrier)
{
    int waiting = 0;
    for (int t = first; t < first + count; ++t)
        waiting += fibers[t].state == barrier;
    if (waiting == 0)
        return false;
    for (int t = first; t < first + count; ++t) {
        if (fibers[t].state == State::done)
            return fail("a thread ended while others wait at a barrier", fibers[t].line), false;
        if (fibers[t].state != barrier)
            return false;
        if (fibers[t].line != fibers[first].line)
            return fail("threads wait at different barriers", fibers[t].line), false;
    }
    for (int t = first; t < first + count; ++t)
        fibers[t].state = State::runnable;
    return true;
}

void run_warp(int first, bool reverse)
{
    for (int i = 0; i < WARP; ++i) {
        const int t = first + (reverse ? WARP - 1 - i : i);
        if (fibers[t].state == State::runnable)
            resume(t);
    }
}

void run_block(bool reverse)
{
    for (int t = 0; t < threads; ++t) {
        Fiber &fiber = fibers[t];
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = nullptr;
        fiber.state = State::runnable;
        fiber.line = 0;
        fiber.started = false;
        makecontext(&fiber.context, run_thread, 0);
    }
    do {
        // A warp goes on as far as it can before the next has its turn: on a
        // GPU too it may be a whole barrier ahead of its neighbours.
        for (int i = 0; i < threads / WARP && !error; ++i) {
            const int first = (reverse ? threads / WARP - 1 - i : i) * WARP;
            do
                run_warp(first, reverse);
            while (!error && release(first, WARP, State::at_warp_barrier));
        }
    } while (!error && release(0, threads, State::at_block_barrier));
    for (int t = 0; t < threads && !error; ++t)
        if (fibers[t].state != State::done)
            fail("threads wait for ever", fibers[t].line);
}

// Calls a kernel with arguments behind untyped pointers, as cuLaunchKernel does.
template <class... A, size_t... I>
void apply(void (*kernel)(A...), void **args, std::index_sequence<I...>)
{
    kernel(*static_cast<A *>(args[I])...);
}
template <class... A> void apply(void (*kernel)(A...), void **args)
{
    apply(kernel, args, std::index_sequence_for<A...>{});
}

// Sizes of a kernel's arguments, for whoever keeps copies of them.
template <class... A> std::vector<size_t> sizes(void (*)(A...))
{
    return {sizeof(A)...};
}

struct Kernel {
    const char *name;
    Body body;
    std::vector<size_t> arguments;
    int threads; // of a block
};
#define OF(name, threads) {#name, [](void **args) { apply(name, args); }, sizes(name), threads}
#define ENTRY(name) OF(name, THREADS)
#define PASS(name) OF(name, PASS_THREADS)
const Kernel kernels[] = {
    PASS(mlp_forward_16),        PASS(mlp_forward_8),
    PASS(mlp_backward_rows_16),  PASS(mlp_backward_rows_8),
    ENTRY(mlp_backward_weights),
    ENTRY(conservative),         ENTRY(advantages),
    ENTRY(imitation),            ENTRY(imitation_stats),
    ENTRY(adam),                 ENTRY(polyak),
    ENTRY(temporal_difference),  ENTRY(expectile_regression),
    ENTRY(difference),
    ENTRY(draw_latents),         ENTRY(reconstruction),
    ENTRY(latent_gradient),
    PASS(policy_8),
};

} // namespace

void wait_block(int line)
{
    wait(State::at_block_barrier, line);
}

float exchange(float value, int offset, unsigned mask)
{
    if (mask != 0xffffffffu)
        fail("a shuffle of part of a warp", 0);
    const int self = current;
    lanes[self] = value;
    wait(State::at_warp_barrier, -1);
    const float other = lanes[self ^ offset];
    wait(State::at_warp_barrier, -2);
    return other;
}

// The sum of exact products and of what was there as the units of compute capability 9.0
// have it, according to measurements others published: each term is cut off, towards zero, two
// bits below the last of the largest, and so is the sum to single precision.
static float unit_sum(const double (&terms)[9])
{
    double largest = 0.0;
    double plain = 0.0;
    for (const double term : terms) {
        largest = std::fmax(largest, std::fabs(term));
        plain += term;
    }
    const auto power = [](int64_t exponent) {
        const uint64_t bits = static_cast<uint64_t>(exponent + 1023) << 52;
        double value;
        std::memcpy(&value, &bits, sizeof value);
        return value;
    };
    // Far from where a double would be less exact.
    if (!(largest > 1e-250) || !std::isfinite(plain))
        return static_cast<float>(plain);
    uint64_t bits;
    std::memcpy(&bits, &largest, sizeof bits);
    const int64_t last = static_cast<int64_t>(bits >> 52) - 1023 - 25;
    const double scale = power(-last);
    int64_t sum = 0;
    for (const double term : terms)
        sum += static_cast<int64_t>(term * scale);
    uint64_t size = static_cast<uint64_t>(sum < 0 ? -sum : sum);
    // All but the first 24 bits are cut off.
    int more = 0;
    while (size >> more >= 1u << 24)
        ++more;
    size = size >> more << more;
    return static_cast<float>(static_cast<double>(size) * power(last) * (sum < 0 ? -1.0 : 1.0));
}

void multiply_tiles(float (&sum)[4], const float (&a)[4], const float (&b)[2])
{
    const int self = current;
    float(*here)[6] = tiles[products[self]++ % 2];
    // The units do not see the lowest thirteen bits.
    const auto seen = [](float x) { return __uint_as_float(__float_as_uint(x) & 0xffffe000u); };
    for (int i = 0; i < 6; ++i)
        here[self][i] = seen(i < 4 ? a[i] : b[i - 4]);
    wait(State::at_warp_barrier, -3);
    const float(*warp)[6] = here + self / WARP * WARP;
    const int line = self % WARP / 4;
    const int step = self % 4;
    for (int i = 0; i < 4; ++i) { // row `line` or eight below, column 2 step or its neighbour
        double terms[9];
        terms[8] = sum[i];
        for (int k = 0; k < 8; ++k)
            terms[k] = static_cast<double>(warp[4 * line + k % 4][i / 2 + k / 4 * 2]) *
                       warp[4 * (2 * step + i % 2) + k % 4][4 + k / 4];
        sum[i] = unit_sum(terms);
    }
}

} // namespace shim

// Runs a kernel to its end; null, or what went wrong. One launch at a time.
extern "C" const char *shim_launch(const char *name, const unsigned *grid, size_t shared_bytes,
                                   void **args, int reverse)
{
    using namespace shim;
    constexpr size_t guard = 64;
    const float nan = std::numeric_limits<float>::quiet_NaN();
    body = nullptr;
    for (const Kernel &kernel : kernels)
        if (std::strcmp(kernel.name, name) == 0) {
            body = kernel.body;
            threads = kernel.threads;
        }
    if (!body)
        return "no such kernel";
    error = nullptr;
    arguments = args;
    gridDim = {grid[0], grid[1], grid[2]};
    const size_t floats = shared_bytes / sizeof(float);
    std::vector<float4> shared((floats + guard) / 4 + 1);
    dynamic_shared = reinterpret_cast<float *>(shared.data());
    const unsigned blocks = grid[0] * grid[1] * grid[2];
    for (unsigned i = 0; i < blocks && !error; ++i) {
        const unsigned block = reverse ? blocks - 1 - i : i;
        blockIdx = {block % grid[0], block / grid[0] % grid[1], block / grid[0] / grid[1]};
        for (size_t f = 0; f < floats; ++f)
            dynamic_shared[f] = nan;
        for (size_t f = floats; f < floats + guard; ++f)
            dynamic_shared[f] = 12345.0f;
        run_block(reverse);
        for (size_t f = floats; f < floats + guard && !error; ++f)
            if (dynamic_shared[f] != 12345.0f)
                fail("a write past the dynamic shared memory", 0);
    }
    return error;
}
