//! ColorTokenDecode as a TensorRT plugin: IPluginV3, found through getCreators. See README.md for the contract.
#include <NvInferRuntime.h>

#include <dlfcn.h>
#include <new>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "kernel.h"

#if NV_TENSORRT_MAJOR * 100 + NV_TENSORRT_MINOR < 1003
#error "edgecolor's plugin needs TensorRT 10.3 or later (JetPack 6.1); on older ones build engines with --decode native"
#endif

namespace edgecolor {
namespace {

using namespace nvinfer1;

char const* const kName = "ColorTokenDecode";
char const* const kVersion = "1";
char const* const kNamespace = "edgecolor";
constexpr int64_t kMaxTokens = 1024;

enum { kLogits, kPrevProbs, kMotion, kKeep, kCenters, kTemperature, kInputs };
enum { kAb, kProbs, kOutputs };
// Rank of every tensor, inputs then outputs.
constexpr int32_t kRanks[kInputs + kOutputs] = {4, 4, 4, 3, 2, 1, 4, 4};
char const* const kNames[kInputs + kOutputs] = {
    "logits", "prev_probs", "motion", "keep", "centers", "temperature", "ab", "probs"};

ILoggerFinder* loggerFinder = nullptr;

//! TensorRT's logger, if it is of the major version that this was compiled for: ILogger's table of methods changed in
//! TensorRT 11, while the rest of what a plugin meets works across.
ILogger* findLogger() noexcept {
    auto const version = reinterpret_cast<int32_t (*)()>(dlsym(RTLD_DEFAULT, "getInferLibVersion"));
    bool const isOurs = version && version() / 10000 == NV_TENSORRT_MAJOR;
    return isOurs && loggerFinder ? loggerFinder->findLogger() : nullptr;
}

void report(char const* problem) noexcept {
    char line[256];
    snprintf(line, sizeof line, "edgecolor::ColorTokenDecode: %s", problem);
    ILogger* const logger = findLogger();
    if (logger) {
        logger->log(ILogger::Severity::kERROR, line);
    } else {
        fprintf(stderr, "%s\n", line);
    }
}

//! Whether two extents can be equal; -1 is not known yet.
bool mayEqual(int64_t a, int64_t b) noexcept { return a == b || a < 0 || b < 0; }

//! Whether shapes belong together; reports and returns false otherwise. Works on build-time shapes with -1 in them too.
bool shapesFit(Dims const (&dims)[kInputs]) noexcept {
    char line[160];
    for (int i = 0; i < kInputs; ++i) {
        if (dims[i].nbDims == kRanks[i]) continue;
        snprintf(line, sizeof line, "%s has %d dimensions instead of %d", kNames[i], dims[i].nbDims, kRanks[i]);
        report(line);
        return false;
    }
    Dims const& logits = dims[kLogits];
    int64_t const tokens = logits.d[3];
    if (tokens > kMaxTokens || tokens == 0) {
        snprintf(line, sizeof line, "%lld tokens in logits: 1 to 1024 are supported", static_cast<long long>(tokens));
        report(line);
        return false;
    }
    Dims64 const expected[kInputs] = {logits, {4, {logits.d[0], logits.d[1], logits.d[2], tokens}},
                                      {4, {logits.d[0], logits.d[1], logits.d[2], 2}},
                                      {3, {logits.d[0], logits.d[1], logits.d[2]}}, {2, {tokens, 2}}, {1, {1}}};
    for (int i = 0; i < kInputs; ++i) {
        for (int axis = 0; axis < kRanks[i]; ++axis) {
            if (mayEqual(dims[i].d[axis], expected[i].d[axis])) continue;
            snprintf(line, sizeof line, "axis %d of %s is %lld, beside these logits it must be %lld", axis, kNames[i],
                     static_cast<long long>(dims[i].d[axis]), static_cast<long long>(expected[i].d[axis]));
            report(line);
            return false;
        }
    }
    return true;
}

class Plugin final : public IPluginV3, public IPluginV3OneCore, public IPluginV3OneBuild, public IPluginV3OneRuntime {
public:
    explicit Plugin(int32_t mode) noexcept : mMode(mode) {}

    IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept override {
        switch (type) {
        case PluginCapabilityType::kCORE: return static_cast<IPluginV3OneCore*>(this);
        case PluginCapabilityType::kBUILD: return static_cast<IPluginV3OneBuild*>(this);
        case PluginCapabilityType::kRUNTIME: return static_cast<IPluginV3OneRuntime*>(this);
        }
        return nullptr;
    }
    IPluginV3* clone() noexcept override { return new (std::nothrow) Plugin(mMode); }

    AsciiChar const* getPluginName() const noexcept override { return kName; }
    AsciiChar const* getPluginVersion() const noexcept override { return kVersion; }
    AsciiChar const* getPluginNamespace() const noexcept override { return kNamespace; }

    int32_t getNbOutputs() const noexcept override { return kOutputs; }

    int32_t getOutputDataTypes(
        DataType* outputs, int32_t outputCount, DataType const* inputs, int32_t inputCount) const noexcept override {
        if (!countsFit(inputCount, outputCount)) return -1;
        outputs[kAb] = DataType::kFLOAT;
        outputs[kProbs] = inputs[kLogits];
        return 0;
    }

    int32_t getOutputShapes(DimsExprs const* inputs, int32_t inputCount, DimsExprs const*, int32_t, DimsExprs* outputs,
                            int32_t outputCount, IExprBuilder& builder) noexcept override {
        if (!countsFit(inputCount, outputCount)) return -1;
        if (inputs[kLogits].nbDims != kRanks[kLogits]) {
            report("logits must be (N, h, w, Q), tokens last");
            return -1;
        }
        outputs[kProbs] = inputs[kLogits];
        outputs[kAb].nbDims = 4;
        outputs[kAb].d[0] = inputs[kLogits].d[0];
        outputs[kAb].d[1] = builder.constant(2);
        outputs[kAb].d[2] = inputs[kLogits].d[1];
        outputs[kAb].d[3] = inputs[kLogits].d[2];
        return 0;
    }

    bool supportsFormatCombination(int32_t position, DynamicPluginTensorDesc const* tensors, int32_t inputCount,
                                   int32_t outputCount) noexcept override {
        if (inputCount != kInputs || outputCount != kOutputs || position < 0 || position >= kInputs + kOutputs) {
            return false;
        }
        PluginTensorDesc const& tensor = tensors[position].desc;
        if (tensor.format != TensorFormat::kLINEAR) return false;
        if (position == kLogits) return tensor.type == DataType::kFLOAT || tensor.type == DataType::kHALF;
        bool const isState = position == kPrevProbs || position == kInputs + kProbs;
        return tensor.type == (isState ? tensors[kLogits].desc.type : DataType::kFLOAT);
    }

    int32_t configurePlugin(DynamicPluginTensorDesc const* inputs, int32_t inputCount, DynamicPluginTensorDesc const*,
                            int32_t outputCount) noexcept override {
        if (!countsFit(inputCount, outputCount)) return -1;
        Dims dims[kInputs];
        for (int i = 0; i < kInputs; ++i) dims[i] = inputs[i].desc.dims;
        return shapesFit(dims) ? 0 : -1;
    }

    int32_t onShapeChange(PluginTensorDesc const* inputs, int32_t inputCount, PluginTensorDesc const*,
                          int32_t outputCount) noexcept override {
        if (!countsFit(inputCount, outputCount)) return -1;
        Dims dims[kInputs];
        for (int i = 0; i < kInputs; ++i) dims[i] = inputs[i].dims;
        return shapesFit(dims) ? 0 : -1;
    }

    int32_t enqueue(PluginTensorDesc const* inputDescs, PluginTensorDesc const*, void const* const* inputs,
                    void* const* outputs, void*, cudaStream_t stream) noexcept override {
        Dims const& logits = inputDescs[kLogits].dims;
        EdgecolorDecode job{};
        job.logits = inputs[kLogits];
        job.prev_probs = inputs[kPrevProbs];
        job.motion = static_cast<float const*>(inputs[kMotion]);
        job.keep = static_cast<float const*>(inputs[kKeep]);
        job.centers = static_cast<float const*>(inputs[kCenters]);
        job.temperature = static_cast<float const*>(inputs[kTemperature]);
        job.ab = static_cast<float*>(outputs[kAb]);
        job.probs = outputs[kProbs];
        job.batch = int32_t(logits.d[0]);
        job.height = int32_t(logits.d[1]);
        job.width = int32_t(logits.d[2]);
        job.tokens = int32_t(logits.d[3]);
        job.type = inputDescs[kLogits].type == DataType::kHALF ? EDGECOLOR_FLOAT16 : EDGECOLOR_FLOAT32;
        job.mode = mMode;
        cudaError_t const status = edgecolorColorTokenDecode(&job, stream);
        if (status == cudaSuccess) return 0;
        char line[160];
        snprintf(line, sizeof line, "the kernel was not started, CUDA error %d (1: an address or a size is not allowed)",
                 int(status));
        report(line);
        return int32_t(status);
    }

    IPluginV3* attachToContext(IPluginResourceContext*) noexcept override { return clone(); }

    PluginFieldCollection const* getFieldsToSerialize() noexcept override {
        mField = PluginField("mode", &mMode, PluginFieldType::kINT32, 1);
        mFields = {1, &mField};
        return &mFields;
    }

private:
    static bool countsFit(int32_t inputs, int32_t outputs) noexcept {
        if (inputs == kInputs && outputs == kOutputs) return true;
        char line[96];
        snprintf(line, sizeof line, "%d inputs and %d outputs instead of 6 and 2", inputs, outputs);
        report(line);
        return false;
    }

    int32_t mMode;
    PluginField mField{};
    PluginFieldCollection mFields{};
};

class Creator final : public IPluginCreatorV3One {
public:
    AsciiChar const* getPluginName() const noexcept override { return kName; }
    AsciiChar const* getPluginVersion() const noexcept override { return kVersion; }
    AsciiChar const* getPluginNamespace() const noexcept override { return kNamespace; }
    PluginFieldCollection const* getFieldNames() noexcept override { return &mFields; }

    //! From a node's attributes when building, from getFieldsToSerialize when an engine is loaded; nullptr for bad ones.
    IPluginV3* createPlugin(
        AsciiChar const*, PluginFieldCollection const* fields, TensorRTPhase phase) noexcept override {
        int64_t mode = EDGECOLOR_ANNEALED_MEAN;
        bool found = false;
        for (int32_t i = 0; fields && i < fields->nbFields; ++i) {
            PluginField const& field = fields->fields[i];
            if (!field.name || strcmp(field.name, "mode") != 0) {
                report("unknown attribute; the only one is mode");
                return nullptr;
            }
            bool const isShort = field.type == PluginFieldType::kINT32, isLong = field.type == PluginFieldType::kINT64;
            if ((!isShort && !isLong) || field.length != 1 || !field.data) {
                report("attribute mode must be one integer");
                return nullptr;
            }
            if (isShort) {
                int32_t value;
                memcpy(&value, field.data, sizeof value);
                mode = value;
            } else {
                memcpy(&mode, field.data, sizeof mode);
            }
            found = true;
        }
        if (mode != EDGECOLOR_ANNEALED_MEAN && mode != EDGECOLOR_MODE) {
            report("attribute mode must be 0 (annealed mean) or 1 (most probable token)");
            return nullptr;
        }
        if (phase == TensorRTPhase::kRUNTIME && !found) {
            report("the engine holds no mode: it is damaged, build it anew");
            return nullptr;
        }
        return new (std::nothrow) Plugin(int32_t(mode));
    }

private:
    PluginField mField{"mode", nullptr, PluginFieldType::kINT32, 1};
    PluginFieldCollection mFields{1, &mField};
};

}  // namespace
}  // namespace edgecolor

extern "C" __attribute__((visibility("default"))) void setLoggerFinder(nvinfer1::ILoggerFinder* finder) {
    edgecolor::loggerFinder = finder;
}

extern "C" __attribute__((visibility("default"))) nvinfer1::IPluginCreatorInterface* const* getCreators(
    int32_t& count) {
    static edgecolor::Creator creator;
    static nvinfer1::IPluginCreatorInterface* const creators[] = {&creator};
    count = 1;
    return creators;
}
