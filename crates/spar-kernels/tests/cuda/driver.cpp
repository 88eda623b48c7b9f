// A stand-in for the CUDA driver and its run-time compiler, over the kernels' own sources
// executed on the CPU (shim.cpp): under the names of both libraries it lets programs made for
// a GPU run as they are, with everything they ask of a driver, on a machine that has none. It
// computes what a GPU computes up to rounding and says nothing about speed.
//
// Every call ends before it returns. What the real driver refuses is refused: buffers of no
// bytes, copies beyond a buffer, anything but launches while a stream is captured, a kernel
// that does not exist. What it would not notice is noticed: a kernel that writes beside a
// buffer. The declarations are those of cuda.h and nvrtc.h, which are not needed to build it.

#include "shim.cpp"

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
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
    CAPTURE_UNSUPPORTED = 900,
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

unsigned char *bytes(unsigned long long address)
{
    return reinterpret_cast<unsigned char *>(address);
}

bool within(unsigned long long address, size_t count)
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
};

using Graph = std::vector<std::shared_ptr<Node>>;

struct Stream {
    std::unique_ptr<Graph> captured;
};

struct Event {
    std::chrono::steady_clock::time_point at;
};

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

int refuse_captured(const Stream *stream)
{
    if (stream && stream->captured)
        return CAPTURE_UNSUPPORTED;
    return broken;
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
API int cuCtxSynchronize() { return broken; }

API int cuGetErrorName(int error, const char **name)
{
    switch (error) {
    case SUCCESS: *name = "CUDA_SUCCESS"; break;
    case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case INVALID_DEVICE: *name = "CUDA_ERROR_INVALID_DEVICE"; break;
    case NOT_FOUND: *name = "CUDA_ERROR_NOT_FOUND"; break;
    case LAUNCH_FAILED: *name = "CUDA_ERROR_LAUNCH_FAILED"; break;
    case CAPTURE_UNSUPPORTED: *name = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"; break;
    default: *name = "CUDA_ERROR_INVALID_VALUE"; break;
    }
    return SUCCESS;
}
API int cuGetErrorString(int error, const char **text) { return cuGetErrorName(error, text); }

API int cuMemAllocAsync(unsigned long long *address, size_t count, Stream *stream)
{
    ONE_AT_A_TIME;
    if (const int refused = refuse_captured(stream))
        return refused;
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

API int cuMemFreeAsync(unsigned long long address, Stream *)
{
    ONE_AT_A_TIME;
    const auto buffer = buffers.find(address);
    if (buffer == buffers.end())
        return INVALID_VALUE;
    const bool whole = untouched(address, buffer->second);
    buffers.erase(buffer);
    std::free(bytes(address) - GUARD);
    return whole ? SUCCESS : fail(LAUNCH_FAILED, "a kernel wrote beside a buffer");
}
API int cuMemFree_v2(unsigned long long address) { return cuMemFreeAsync(address, nullptr); }

API int cuMemsetD8Async(unsigned long long address, unsigned char value, size_t count,
                        Stream *stream)
{
    ONE_AT_A_TIME;
    if (const int refused = refuse_captured(stream))
        return refused;
    if (!within(address, count))
        return INVALID_VALUE;
    std::memset(bytes(address), value, count);
    return SUCCESS;
}

API int cuMemcpyHtoDAsync_v2(unsigned long long to, const void *from, size_t count,
                             Stream *stream)
{
    ONE_AT_A_TIME;
    if (const int refused = refuse_captured(stream))
        return refused;
    if (!within(to, count))
        return INVALID_VALUE;
    std::memcpy(bytes(to), from, count);
    return SUCCESS;
}

API int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t count, Stream *stream)
{
    ONE_AT_A_TIME;
    if (const int refused = refuse_captured(stream))
        return refused;
    if (!within(from, count))
        return INVALID_VALUE;
    const auto buffer = buffers.find(from);
    if (buffer != buffers.end() && !untouched(from, buffer->second))
        return fail(LAUNCH_FAILED, "a kernel wrote beside a buffer");
    std::memcpy(to, bytes(from), count);
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
    if (broken)
        return broken;
    const bool sound = threads == THREADS && threads_y == 1 && threads_z == 1 && x > 0 && y > 0 &&
                       z > 0 && y <= 65535 && z <= 65535 && shared <= 227 * 1024;
    if (!sound)
        return INVALID_VALUE;
    auto node = std::make_shared<Node>();
    node->kernel = kernel;
    node->grid[0] = x, node->grid[1] = y, node->grid[2] = z;
    node->shared = shared;
    for (size_t i = 0; i < kernel->arguments.size(); ++i) {
        const size_t size = kernel->arguments[i];
        node->arguments.emplace_back(new char[size]);
        std::memcpy(node->arguments.back().get(), arguments[i], size);
    }
    if (stream && stream->captured) {
        stream->captured->push_back(node);
        return SUCCESS;
    }
    return run(*node);
}

API int cuStreamCreate(Stream **stream, unsigned)
{
    *stream = new Stream;
    return SUCCESS;
}
API int cuStreamDestroy_v2(Stream *stream)
{
    delete stream;
    return SUCCESS;
}
API int cuStreamSynchronize(Stream *stream) { return refuse_captured(stream); }
API int cuStreamWaitEvent(Stream *, Event *, unsigned) { return broken; }

API int cuStreamBeginCapture_v2(Stream *stream, int)
{
    ONE_AT_A_TIME;
    if (!stream || stream->captured)
        return CAPTURE_UNSUPPORTED;
    stream->captured = std::make_unique<Graph>();
    return SUCCESS;
}
API int cuStreamEndCapture(Stream *stream, Graph **graph)
{
    ONE_AT_A_TIME;
    *graph = nullptr;
    if (!stream || !stream->captured)
        return CAPTURE_UNSUPPORTED;
    *graph = stream->captured.release();
    return SUCCESS;
}
API int cuStreamIsCapturing(Stream *stream, int *status)
{
    *status = stream && stream->captured;
    return SUCCESS;
}

API int cuGraphInstantiateWithFlags(Graph **instance, Graph *graph, unsigned long long)
{
    *instance = new Graph(*graph);
    return SUCCESS;
}
API int cuGraphDestroy(Graph *graph)
{
    delete graph;
    return SUCCESS;
}
API int cuGraphExecDestroy(Graph *graph) { return cuGraphDestroy(graph); }
API int cuGraphUpload(Graph *, Stream *) { return SUCCESS; }
API int cuGraphLaunch(Graph *graph, Stream *stream)
{
    ONE_AT_A_TIME;
    if (const int refused = refuse_captured(stream))
        return refused;
    for (const auto &node : *graph)
        if (const Result failed = run(*node))
            return failed;
    return SUCCESS;
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
    if (const int refused = refuse_captured(stream))
        return refused;
    event->at = std::chrono::steady_clock::now();
    return SUCCESS;
}
API int cuEventSynchronize(Event *) { return broken; }
API int cuEventQuery(Event *) { return broken; }
API int cuEventElapsedTime(float *milliseconds, Event *from, Event *to)
{
    *milliseconds = std::chrono::duration<float, std::milli>(to->at - from->at).count();
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
