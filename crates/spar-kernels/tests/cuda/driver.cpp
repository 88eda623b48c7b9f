// A stand-in for the CUDA driver and its run-time compiler, over the kernels' own sources
// executed on the CPU (shim.cpp): under the names of both libraries it lets programs made for
// a GPU run as they are, with everything they ask of a driver, on a machine that has none. It
// computes what a GPU computes up to rounding and says nothing about speed.
//
// A copy from pinned memory happens as late as it may, when somebody waits for its stream, and
// with it all that follows there; every other call ends before it returns. A graph's nodes run
// in an order that its dependencies allow, another one each time: in the order they were added
// as little as may be. What the real driver refuses is refused: buffers of no bytes, copies
// beyond a buffer, nodes of another graph, a kernel that does not exist. What it would not
// notice is noticed: a kernel that writes beside a buffer. The declarations are those of cuda.h and nvrtc.h, which are not needed to build it.

#include "shim.cpp"

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#define API extern "C" __attribute__((visibility("default")))

namespace {

enum Result {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_DEVICE = 101,
    NOT_FOUND = 500,
    LAUNCH_FAILED = 719,
};

// One call at a time: the shim keeps one launch's state in statics.
std::recursive_mutex turn;
#define ONE_AT_A_TIME std::lock_guard<std::recursive_mutex> guard(turn)

// As on a GPU, nothing works after a launch that failed.
Result broken = SUCCESS;

constexpr size_t GUARD = 256;
constexpr unsigned char UNTOUCHED = 0xa5;
// Not a number, whichever way it is read.
constexpr unsigned char UNWRITTEN = 0xff;

// Bytes of every buffer by its first address.
std::map<unsigned long long, size_t> buffers;
// Those of pinned memory.
std::map<unsigned long long, size_t> pinned;

unsigned char *bytes(unsigned long long address)
{
    return reinterpret_cast<unsigned char *>(address);
}

bool within(unsigned long long address, size_t count,
            const std::map<unsigned long long, size_t> &buffers = ::buffers)
{
    auto after = buffers.upper_bound(address);
    if (after == buffers.begin())
        return false;
    const auto &buffer = *--after;
    return address + count <= buffer.first + buffer.second;
}

bool untouched(unsigned long long address, size_t count)
{
    for (size_t i = 0; i < GUARD; ++i)
        if (bytes(address)[-1 - static_cast<long>(i)] != UNTOUCHED ||
            bytes(address)[count + i] != UNTOUCHED)
            return false;
    return true;
}

Result fail(Result result, const char *what)
{
    std::fprintf(stderr, "stand-in driver: %s\n", what);
    return broken = result;
}

struct Module {
    std::string text;
};

struct Node {
    const shim::Kernel *kernel;
    unsigned grid[3];
    unsigned shared;
    std::vector<std::unique_ptr<char[]>> arguments;
    std::vector<const Node *> after;
};

using Graph = std::vector<std::shared_ptr<Node>>;

struct Stream {
    // What is not done yet, in order.
    std::deque<std::function<Result()>> later;
};

// A place in a stream's work, and when it was reached.
struct Mark {
    Stream *stream;
    bool reached = false;
    std::chrono::steady_clock::time_point at;
};

struct Event {
    // Where it was last recorded.
    std::shared_ptr<Mark> mark;
};

std::set<Graph *> graphs;
std::set<Stream *> streams;

Result run(const Node &node)
{
    if (broken)
        return broken;
    std::vector<void *> arguments;
    for (const auto &argument : node.arguments)
        arguments.push_back(argument.get());
    const char *error =
        shim_launch(node.kernel->name, node.grid, node.shared, arguments.data(), 0);
    if (!error)
        return SUCCESS;
    std::fprintf(stderr, "stand-in driver: %s: ", node.kernel->name);
    return fail(LAUNCH_FAILED, error);
}

// Does the first thing that is left to do.
Result do_next(Stream *stream)
{
    const std::function<Result()> next = std::move(stream->later.front());
    stream->later.pop_front();
    return broken ? broken : next();
}
Result drain(Stream *stream)
{
    while (stream && !stream->later.empty())
        do_next(stream);
    return broken;
}

// Does what is left before a mark, and no more: what waits too little shows.
Result reach(const std::shared_ptr<Mark> &mark)
{
    while (mark && !mark->reached && streams.count(mark->stream) && !mark->stream->later.empty())
        do_next(mark->stream);
    return broken;
}

// Does `work` in its turn on the stream: at once if nothing is left before it.
Result in_turn(Stream *stream, std::function<Result()> work)
{
    if (broken)
        return broken;
    if (!stream || stream->later.empty())
        return work();
    stream->later.push_back(std::move(work));
    return SUCCESS;
}

// A kernel with copies of its arguments, or nothing if the driver would refuse it.
std::shared_ptr<Node> node_of(const shim::Kernel *kernel, unsigned x, unsigned y, unsigned z,
                              unsigned threads, unsigned threads_y, unsigned threads_z,
                              unsigned shared, void **arguments)
{
    const bool sound = kernel && threads == static_cast<unsigned>(kernel->threads) &&
                       threads_y == 1 && threads_z == 1 && x > 0 && y > 0 && z > 0 &&
                       y <= 65535 && z <= 65535 && shared <= 227 * 1024;
    if (!sound)
        return nullptr;
    auto node = std::make_shared<Node>();
    node->kernel = kernel;
    node->grid[0] = x, node->grid[1] = y, node->grid[2] = z;
    node->shared = shared;
    for (size_t i = 0; i < kernel->arguments.size(); ++i) {
        const size_t size = kernel->arguments[i];
        node->arguments.emplace_back(new char[size]);
        std::memcpy(node->arguments.back().get(), arguments[i], size);
    }
    return node;
}

// Runs a graph: of the nodes that may run, every other time the one added last, else any.
Result run_graph(const Graph &graph)
{
    static unsigned long long random = 88172645463325252ull;
    static unsigned times = 0;
    const bool last = times++ % 2 == 0;
    std::set<const Node *> done;
    while (done.size() < graph.size()) {
        std::vector<const Node *> ready;
        for (const auto &node : graph) {
            bool may = !done.count(node.get());
            for (const Node *before : node->after)
                may = may && done.count(before);
            if (may)
                ready.push_back(node.get());
        }
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        const Node *next = last ? ready.back() : ready[random % ready.size()];
        if (const Result failed = run(*next))
            return failed;
        done.insert(next);
    }
    return SUCCESS;
}

} // namespace

API int cuInit(unsigned) { return SUCCESS; }

API int cuDriverGetVersion(int *version)
{
    *version = 12080;
    return SUCCESS;
}

API int cuDeviceGetCount(int *count)
{
    *count = 1;
    return SUCCESS;
}

API int cuDeviceGet(int *device, int ordinal)
{
    *device = ordinal;
    return ordinal == 0 ? SUCCESS : INVALID_DEVICE;
}

API int cuDeviceGetName(char *name, int length, int)
{
    std::snprintf(name, static_cast<size_t>(length), "stand-in for a GPU, on the CPU");
    return SUCCESS;
}

API int cuDeviceGetAttribute(int *value, int attribute, int)
{
    switch (attribute) {
    case 13: *value = 1000000; break;    // clock, kHz
    case 16: *value = 132; break;        // multiprocessors
    case 36: *value = 1000000; break;    // memory's clock, kHz
    case 37: *value = 5120; break;       // memory's bus, bits
    case 75: *value = 9; break;          // compute capability
    case 76: *value = 0; break;
    case 97: *value = 227 * 1024; break; // shared memory a block may ask for
    case 115: *value = 1; break;         // memory pools
    default: *value = 0; return INVALID_VALUE;
    }
    return SUCCESS;
}

API int cuDevicePrimaryCtxRetain(void **context, int)
{
    static int primary;
    *context = &primary;
    return SUCCESS;
}
API int cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
API int cuCtxSetCurrent(void *) { return SUCCESS; }
API int cuCtxGetCurrent(void **context) { return cuDevicePrimaryCtxRetain(context, 0); }

API int cuGetErrorName(int error, const char **name)
{
    switch (error) {
    case SUCCESS: *name = "CUDA_SUCCESS"; break;
    case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case INVALID_DEVICE: *name = "CUDA_ERROR_INVALID_DEVICE"; break;
    case NOT_FOUND: *name = "CUDA_ERROR_NOT_FOUND"; break;
    case LAUNCH_FAILED: *name = "CUDA_ERROR_LAUNCH_FAILED"; break;
    default: *name = "CUDA_ERROR_INVALID_VALUE"; break;
    }
    return SUCCESS;
}
API int cuGetErrorString(int error, const char **text) { return cuGetErrorName(error, text); }

API int cuMemAllocAsync(unsigned long long *address, size_t count, Stream *)
{
    ONE_AT_A_TIME;
    if (broken)
        return broken;
    if (count == 0)
        return INVALID_VALUE;
    const size_t whole = (count + 2 * GUARD + 255) / 256 * 256;
    auto *memory = static_cast<unsigned char *>(std::aligned_alloc(256, whole));
    if (!memory)
        return OUT_OF_MEMORY;
    std::memset(memory, UNTOUCHED, whole);
    std::memset(memory + GUARD, UNWRITTEN, count);
    *address = reinterpret_cast<unsigned long long>(memory + GUARD);
    buffers[*address] = count;
    return SUCCESS;
}
API int cuMemAlloc_v2(unsigned long long *address, size_t count)
{
    return cuMemAllocAsync(address, count, nullptr);
}

API int cuMemFreeAsync(unsigned long long address, Stream *stream)
{
    ONE_AT_A_TIME;
    if (!buffers.count(address))
        return INVALID_VALUE;
    return in_turn(stream, [=] {
        const size_t count = buffers[address];
        const bool whole = untouched(address, count);
        buffers.erase(address);
        std::free(bytes(address) - GUARD);
        return whole ? SUCCESS : fail(LAUNCH_FAILED, "a kernel wrote beside a buffer");
    });
}
API int cuMemFree_v2(unsigned long long address) { return cuMemFreeAsync(address, nullptr); }

API int cuMemsetD8Async(unsigned long long address, unsigned char value, size_t count,
                        Stream *stream)
{
    ONE_AT_A_TIME;
    if (!within(address, count))
        return INVALID_VALUE;
    return in_turn(stream, [=] {
        std::memset(bytes(address), value, count);
        return SUCCESS;
    });
}

API int cuMemcpyHtoDAsync_v2(unsigned long long to, const void *from, size_t count,
                             Stream *stream)
{
    ONE_AT_A_TIME;
    if (!within(to, count))
        return INVALID_VALUE;
    if (within(reinterpret_cast<unsigned long long>(from), count, pinned)) {
        stream->later.push_back([=] {
            std::memcpy(bytes(to), from, count);
            return SUCCESS;
        });
        return broken;
    }
    const std::vector<char> copy(static_cast<const char *>(from),
                                 static_cast<const char *>(from) + count);
    return in_turn(stream, [=] {
        std::memcpy(bytes(to), copy.data(), count);
        return SUCCESS;
    });
}

// As CUDA_MEMCPY2D; memory of type 1 is the host's, 2 the device's.
struct Copy2D {
    size_t from_x, from_y;
    unsigned from_type;
    const char *from_host;
    unsigned long long from_device;
    void *from_array;
    size_t from_pitch;
    size_t to_x, to_y;
    unsigned to_type;
    void *to_host;
    unsigned long long to_device;
    void *to_array;
    size_t to_pitch;
    size_t width, height;
};

API int cuMemcpy2DAsync_v2(const Copy2D *given, Stream *stream)
{
    ONE_AT_A_TIME;
    const Copy2D copy = *given;
    const bool of_host = copy.from_type == 1;
    const bool known = (of_host || copy.from_type == 2) && copy.to_type == 2 && !copy.from_x &&
                       !copy.from_y &&
                       !copy.to_x && !copy.to_y && copy.width <= copy.from_pitch &&
                       copy.width <= copy.to_pitch && copy.to_pitch <= 0x7fffffff;
    if (!known || !copy.width || !copy.height)
        return INVALID_VALUE;
    const auto from =
        of_host ? reinterpret_cast<unsigned long long>(copy.from_host) : copy.from_device;
    if (!within(copy.to_device, copy.to_pitch * (copy.height - 1) + copy.width) ||
        !within(from, copy.from_pitch * (copy.height - 1) + copy.width, of_host ? pinned : buffers))
        return INVALID_VALUE;
    const auto work = [=] {
        for (size_t row = 0; row < copy.height; ++row)
            std::memcpy(bytes(copy.to_device + row * copy.to_pitch),
                        bytes(from + row * copy.from_pitch), copy.width);
        return SUCCESS;
    };
    if (!of_host)
        return in_turn(stream, work);
    stream->later.push_back(work);
    return broken;
}

API int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t count, Stream *stream)
{
    ONE_AT_A_TIME;
    if (!within(from, count))
        return INVALID_VALUE;
    if (const Result failed = drain(stream))
        return failed;
    const auto buffer = buffers.find(from);
    if (buffer != buffers.end() && !untouched(from, buffer->second))
        return fail(LAUNCH_FAILED, "a kernel wrote beside a buffer");
    std::memcpy(to, bytes(from), count);
    return SUCCESS;
}

API int cuMemHostAlloc(void **memory, size_t count, unsigned)
{
    ONE_AT_A_TIME;
    if (count == 0)
        return INVALID_VALUE;
    *memory = std::malloc(count);
    if (!*memory)
        return OUT_OF_MEMORY;
    std::memset(*memory, UNWRITTEN, count);
    pinned[reinterpret_cast<unsigned long long>(*memory)] = count;
    return SUCCESS;
}
API int cuMemFreeHost(void *memory)
{
    ONE_AT_A_TIME;
    if (!pinned.erase(reinterpret_cast<unsigned long long>(memory)))
        return INVALID_VALUE;
    std::free(memory);
    return SUCCESS;
}

API int cuModuleLoadData(Module **module, const void *image)
{
    *module = new Module{static_cast<const char *>(image)};
    return SUCCESS;
}
API int cuModuleUnload(Module *module)
{
    delete module;
    return SUCCESS;
}
API int cuModuleGetFunction(const shim::Kernel **function, Module *, const char *name)
{
    for (const shim::Kernel &kernel : shim::kernels)
        if (std::strcmp(kernel.name, name) == 0) {
            *function = &kernel;
            return SUCCESS;
        }
    return NOT_FOUND;
}
API int cuFuncGetAttribute(int *value, int, const shim::Kernel *)
{
    *value = 0;
    return SUCCESS;
}
API int cuFuncSetAttribute(const shim::Kernel *, int, int value)
{
    return value >= 0 && value <= 227 * 1024 ? SUCCESS : INVALID_VALUE;
}

API int cuLaunchKernel(const shim::Kernel *kernel, unsigned x, unsigned y, unsigned z,
                       unsigned threads, unsigned threads_y, unsigned threads_z, unsigned shared,
                       Stream *stream, void **arguments, void **)
{
    ONE_AT_A_TIME;
    const auto node =
        node_of(kernel, x, y, z, threads, threads_y, threads_z, shared, arguments);
    if (!node)
        return INVALID_VALUE;
    return in_turn(stream, [=] { return run(*node); });
}

API int cuStreamCreate(Stream **stream, unsigned)
{
    ONE_AT_A_TIME;
    *stream = new Stream;
    streams.insert(*stream);
    return SUCCESS;
}
API int cuStreamDestroy_v2(Stream *stream)
{
    ONE_AT_A_TIME;
    drain(stream);
    streams.erase(stream);
    delete stream;
    return SUCCESS;
}
API int cuStreamSynchronize(Stream *stream)
{
    ONE_AT_A_TIME;
    return drain(stream);
}
API int cuStreamWaitEvent(Stream *stream, Event *event, unsigned)
{
    ONE_AT_A_TIME;
    const auto mark = event->mark;
    // Not before its turn: what does not wait for this shows.
    if (mark && !mark->reached)
        stream->later.push_back([=] { return reach(mark); });
    return broken;
}

API int cuGraphCreate(Graph **graph, unsigned flags)
{
    ONE_AT_A_TIME;
    if (flags)
        return INVALID_VALUE;
    *graph = new Graph;
    graphs.insert(*graph);
    return SUCCESS;
}

struct KernelNode {
    const shim::Kernel *kernel;
    unsigned grid[3], block[3], shared;
    void **arguments, **extra;
    void *kern, *context;
};

API int cuGraphAddKernelNode_v2(const Node **node, Graph *graph, const Node *const *after,
                                size_t count, const KernelNode *given)
{
    ONE_AT_A_TIME;
    if (!graphs.count(graph) || given->extra || given->kern)
        return INVALID_VALUE;
    const auto made = node_of(given->kernel, given->grid[0], given->grid[1], given->grid[2],
                              given->block[0], given->block[1], given->block[2], given->shared,
                              given->arguments);
    if (!made)
        return INVALID_VALUE;
    for (size_t i = 0; i < count; ++i) {
        bool known = false;
        for (const auto &other : *graph)
            known = known || other.get() == after[i];
        for (const Node *other : made->after)
            known = known && other != after[i]; // no dependency twice
        if (!known)
            return INVALID_VALUE;
        made->after.push_back(after[i]);
    }
    graph->push_back(made);
    *node = made.get();
    return SUCCESS;
}
API int cuGraphInstantiateWithFlags(Graph **instance, Graph *graph, unsigned long long flags)
{
    ONE_AT_A_TIME;
    if (!graphs.count(graph) || flags)
        return INVALID_VALUE;
    *instance = new Graph(*graph);
    graphs.insert(*instance);
    return SUCCESS;
}
API int cuGraphDestroy(Graph *graph)
{
    ONE_AT_A_TIME;
    if (!graphs.erase(graph))
        return INVALID_VALUE;
    delete graph;
    return SUCCESS;
}
API int cuGraphExecDestroy(Graph *graph) { return cuGraphDestroy(graph); }
API int cuGraphLaunch(Graph *graph, Stream *stream)
{
    ONE_AT_A_TIME;
    if (!graphs.count(graph))
        return INVALID_VALUE;
    // What was started runs to its end, whatever becomes of the graph.
    return in_turn(stream, [nodes = *graph] { return run_graph(nodes); });
}

API int cuEventCreate(Event **event, unsigned)
{
    *event = new Event;
    return SUCCESS;
}
API int cuEventDestroy_v2(Event *event)
{
    delete event;
    return SUCCESS;
}
API int cuEventRecord(Event *event, Stream *stream)
{
    ONE_AT_A_TIME;
    const auto mark = std::make_shared<Mark>();
    mark->stream = stream;
    event->mark = mark;
    return in_turn(stream, [=] {
        mark->reached = true;
        mark->at = std::chrono::steady_clock::now();
        return SUCCESS;
    });
}
API int cuEventSynchronize(Event *event)
{
    ONE_AT_A_TIME;
    return reach(event->mark);
}
API int cuEventElapsedTime(float *milliseconds, Event *from, Event *to)
{
    cuEventSynchronize(from);
    cuEventSynchronize(to);
    if (!from->mark || !to->mark)
        return INVALID_VALUE;
    const auto took = to->mark->at - from->mark->at;
    *milliseconds = std::chrono::duration<float, std::milli>(took).count();
    return broken;
}
API int cuEventElapsedTime_v2(float *milliseconds, Event *from, Event *to)
{
    return cuEventElapsedTime(milliseconds, from, to);
}

// The run-time compiler hands the source on: the kernels are compiled in.

API int nvrtcCreateProgram(Module **program, const char *source, const char *, int,
                           const char *const *, const char *const *)
{
    *program = new Module{source};
    return SUCCESS;
}
API int nvrtcDestroyProgram(Module **program)
{
    delete *program;
    *program = nullptr;
    return SUCCESS;
}
API int nvrtcCompileProgram(Module *, int, const char *const *) { return SUCCESS; }
API int nvrtcGetProgramLogSize(Module *, size_t *size)
{
    *size = 1;
    return SUCCESS;
}
API int nvrtcGetProgramLog(Module *, char *log)
{
    *log = '\0';
    return SUCCESS;
}
API int nvrtcGetPTXSize(Module *program, size_t *size)
{
    *size = program->text.size() + 1;
    return SUCCESS;
}
API int nvrtcGetPTX(Module *program, char *ptx)
{
    std::memcpy(ptx, program->text.c_str(), program->text.size() + 1);
    return SUCCESS;
}
API const char *nvrtcGetErrorString(int) { return "the stand-in compiles everything"; }
