//! What TensorRT does with a plugin, as far as that goes without TensorRT: look it up, ask for types, shapes and
//! formats, serialize it, make it anew, run it. Called from Python; the pointers it passes on may be of a CPU or a GPU.
#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <memory>
#include <set>
#include <string.h>
#include <string>
#include <vector>

#include "../color_token_decode/kernel.h"

using namespace nvinfer1;

namespace {

constexpr int kInputs = 6, kOutputs = 2;

//! One extent: a number, or the name of one that is not known while building.
class Extent final : public IDimensionExpr {
public:
    explicit Extent(int64_t value) : value(value) {}
    int64_t const value;
};

class Builder final : public IExprBuilder {
public:
    Builder() { mImpl = &mMaker; }
    IDimensionExpr const* extent(int64_t value) { return mMaker.constant(value); }

private:
    class Maker final : public apiv::VExprBuilder {
    public:
        IDimensionExpr const* constant(int64_t value) override {
            mAll.push_back(std::make_unique<Extent>(value));
            return mAll.back().get();
        }
        IDimensionExpr const* operation(
            DimensionOperation, IDimensionExpr const&, IDimensionExpr const&) override {
            return nullptr;
        }
        IDimensionExpr const* declareSizeTensor(int32_t, IDimensionExpr const&, IDimensionExpr const&) override {
            return nullptr;
        }

    private:
        std::vector<std::unique_ptr<Extent>> mAll;
    };
    Maker mMaker;
};

struct Parts {
    IPluginV3* plugin = nullptr;
    IPluginV3OneCore* core = nullptr;
    IPluginV3OneBuild* build = nullptr;
    IPluginV3OneRuntime* runtime = nullptr;

    explicit Parts(IPluginV3* made) : plugin(made) {
        if (!plugin) return;
        core = static_cast<IPluginV3OneCore*>(plugin->getCapabilityInterface(PluginCapabilityType::kCORE));
        build = static_cast<IPluginV3OneBuild*>(plugin->getCapabilityInterface(PluginCapabilityType::kBUILD));
        runtime = static_cast<IPluginV3OneRuntime*>(plugin->getCapabilityInterface(PluginCapabilityType::kRUNTIME));
    }
    ~Parts() { delete plugin; }
    Parts(Parts const&) = delete;
    Parts& operator=(Parts const&) = delete;
};

IPluginCreatorV3One* creator = nullptr;

IPluginV3* make(int32_t mode, TensorRTPhase phase) {
    PluginField field("mode", &mode, PluginFieldType::kINT32, 1);
    PluginFieldCollection fields{1, &field};
    return creator->createPlugin("decode", &fields, phase);
}

std::vector<Dims> shapesOf(EdgecolorDecode const& job) {
    int64_t const n = job.batch, h = job.height, w = job.width, q = job.tokens;
    return {{4, {n, h, w, q}}, {4, {n, h, w, q}}, {4, {n, h, w, 2}}, {3, {n, h, w}},
            {2, {q, 2}},       {1, {1}},          {4, {n, 2, h, w}}, {4, {n, h, w, q}}};
}

PluginTensorDesc describe(Dims const& dims, DataType type) {
    PluginTensorDesc desc{};
    desc.dims = dims;
    desc.type = type;
    desc.format = TensorFormat::kLINEAR;
    return desc;
}

}  // namespace

extern "C" {

//! Open a plugin library and find the creator. Returns an error, or an empty text.
char const* mockHostOpen(char const* path) {
    static std::string problem;
    void* const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return (problem = dlerror()).c_str();
    using GetCreators = IPluginCreatorInterface* const* (*)(int32_t&);
    auto const getCreators = reinterpret_cast<GetCreators>(dlsym(library, "getCreators"));
    auto const setFinder = dlsym(library, "setLoggerFinder");
    if (!getCreators || !setFinder) return "getCreators or setLoggerFinder is not exported";
    int32_t count = 0;
    IPluginCreatorInterface* const* const creators = getCreators(count);
    if (count != 1) return "not exactly one creator";
    if (strcmp(creators[0]->getInterfaceInfo().kind, "PLUGIN CREATOR_V3ONE") != 0) return "not a creator of V3 plugins";
    creator = static_cast<IPluginCreatorV3One*>(creators[0]);
    return "";
}

//! Bits of (name, version, namespace, fields) that the creator does not give as the design wants them.
int mockHostNames() {
    PluginFieldCollection const* const fields = creator->getFieldNames();
    bool const oneField = fields->nbFields == 1 && strcmp(fields->fields[0].name, "mode") == 0 &&
                          fields->fields[0].type == PluginFieldType::kINT32;
    return (strcmp(creator->getPluginName(), "ColorTokenDecode") != 0) |
           (strcmp(creator->getPluginVersion(), "1") != 0) << 1 |
           (strcmp(creator->getPluginNamespace(), "edgecolor") != 0) << 2 | !oneField << 3;
}

//! Whether a plugin is made of one field; type is a PluginFieldType.
int mockHostCreates(char const* name, int type, void const* data, int length, int isRuntime) {
    PluginField field(name, data, PluginFieldType(type), length);
    PluginFieldCollection fields{name ? 1 : 0, name ? &field : nullptr};
    auto const phase = isRuntime ? TensorRTPhase::kRUNTIME : TensorRTPhase::kBUILD;
    Parts const parts(creator->createPlugin("decode", &fields, phase));
    return parts.core && parts.build && parts.runtime;
}

int mockHostFieldType(int wanted) {
    return int(wanted == 0 ? PluginFieldType::kINT32 : wanted == 1 ? PluginFieldType::kINT64 : PluginFieldType::kFLOAT32);
}

//! The output's extents from logits (extents 11, 22, 33, 44) and the eight types, types as numbers of DataType.
int mockHostOutputs(int logitsType, int* types, int64_t* extents, int* ranks) {
    Parts const parts(make(0, TensorRTPhase::kBUILD));
    if (parts.build->getNbOutputs() != kOutputs) return -1;
    DataType inputs[kInputs] = {DataType(logitsType), DataType(logitsType), DataType::kFLOAT,
                                DataType::kFLOAT,     DataType::kFLOAT,     DataType::kFLOAT};
    DataType outputs[kOutputs];
    if (parts.build->getOutputDataTypes(outputs, kOutputs, inputs, kInputs) != 0) return -2;
    Builder builder;
    EdgecolorDecode job{};
    job.batch = 11, job.height = 22, job.width = 33, job.tokens = 44;
    std::vector<Dims> const dims = shapesOf(job);
    DimsExprs shapes[kInputs], results[kOutputs];
    for (int i = 0; i < kInputs; ++i) {
        shapes[i].nbDims = dims[i].nbDims;
        for (int axis = 0; axis < dims[i].nbDims; ++axis) shapes[i].d[axis] = builder.extent(dims[i].d[axis]);
    }
    if (parts.build->getOutputShapes(shapes, kInputs, nullptr, 0, results, kOutputs, builder) != 0) return -3;
    for (int k = 0; k < kOutputs; ++k) {
        types[k] = int(outputs[k]);
        ranks[k] = results[k].nbDims;
        for (int axis = 0; axis < results[k].nbDims && axis < 4; ++axis) {
            extents[4 * k + axis] = static_cast<Extent const*>(results[k].d[axis])->value;
        }
    }
    return 0;
}

//! How many of all combinations of types (float, half, int32, int8) and formats (linear, CHW2) the plugin accepts, each
//! position asked in turn as TensorRT does; the accepted ones as eight digits each, the type of every tensor.
int mockHostFormats(char* accepted, int capacity) {
    Parts const parts(make(0, TensorRTPhase::kBUILD));
    DataType const types[] = {DataType::kFLOAT, DataType::kHALF, DataType::kINT32, DataType::kINT8};
    TensorFormat const formats[] = {TensorFormat::kLINEAR, TensorFormat::kCHW2};
    std::set<std::string> alive{""};
    std::vector<DynamicPluginTensorDesc> tensors(kInputs + kOutputs);
    for (int position = 0; position < kInputs + kOutputs; ++position) {
        std::set<std::string> longer;
        for (std::string const& prefix : alive) {
            for (int i = 0; i < position; ++i) {
                tensors[i].desc = describe({}, types[(prefix[i] - '0') / 2]);
                tensors[i].desc.format = formats[(prefix[i] - '0') % 2];
            }
            for (int choice = 0; choice < 8; ++choice) {
                tensors[position].desc = describe({}, types[choice / 2]);
                tensors[position].desc.format = formats[choice % 2];
                if (parts.build->supportsFormatCombination(position, tensors.data(), kInputs, kOutputs)) {
                    longer.insert(prefix + char('0' + choice));
                }
            }
        }
        alive = longer;
    }
    std::string all;
    for (std::string const& one : alive) all += one + " ";
    strncpy(accepted, all.c_str(), size_t(capacity) - 1);
    accepted[capacity - 1] = 0;
    return int(alive.size());
}

//! Status of onShapeChange (and, with isBuild, of configurePlugin) when one extent of one input is replaced.
int mockHostShapeStatus(int input, int axis, int64_t extent, int isBuild) {
    Parts const parts(make(0, TensorRTPhase::kBUILD));
    EdgecolorDecode job{};
    job.batch = 2, job.height = 3, job.width = 5, job.tokens = 313;
    std::vector<Dims> dims = shapesOf(job);
    if (axis < 0) {
        dims[input].nbDims = int32_t(extent);
    } else {
        dims[input].d[axis] = extent;
    }
    PluginTensorDesc inputs[kInputs], outputs[kOutputs];
    DynamicPluginTensorDesc dynamicInputs[kInputs]{}, dynamicOutputs[kOutputs]{};
    for (int i = 0; i < kInputs; ++i) dynamicInputs[i].desc = inputs[i] = describe(dims[i], DataType::kFLOAT);
    for (int i = 0; i < kOutputs; ++i) outputs[i] = describe(dims[kInputs + i], DataType::kFLOAT);
    return isBuild ? parts.build->configurePlugin(dynamicInputs, kInputs, dynamicOutputs, kOutputs)
                   : parts.runtime->onShapeChange(inputs, kInputs, outputs, kOutputs);
}

//! The whole life of a plugin: made from a node, configured, serialized, made anew, attached, run on the job.
//! Returns 0, the status of enqueue, or a negative number for the step that failed.
int mockHostDecode(EdgecolorDecode const* job, void* stream) {
    Parts const made(make(job->mode, TensorRTPhase::kBUILD));
    if (!made.plugin) return -1;
    // TensorRT keeps the fields by value, and the plugin may be gone when they are read.
    std::vector<char> bytes;
    std::string name;
    PluginField stored;
    {
        Parts const copy(made.plugin->clone());
        if (!copy.runtime || copy.plugin == made.plugin) return -2;
        PluginFieldCollection const* const fields = copy.runtime->getFieldsToSerialize();
        if (fields->nbFields != 1 || fields->fields[0].type != PluginFieldType::kINT32) return -3;
        stored = fields->fields[0];
        name = stored.name;
        auto const* const data = static_cast<char const*>(stored.data);
        bytes.assign(data, data + 4 * stored.length);
    }
    stored.name = name.c_str();
    stored.data = bytes.data();
    PluginFieldCollection fields{1, &stored};
    Parts const loaded(creator->createPlugin("decode", &fields, TensorRTPhase::kRUNTIME));
    if (!loaded.runtime) return -4;
    Parts const attached(loaded.runtime->attachToContext(nullptr));
    if (!attached.runtime || attached.plugin == loaded.plugin) return -5;

    DataType const state = job->type == EDGECOLOR_FLOAT16 ? DataType::kHALF : DataType::kFLOAT;
    std::vector<Dims> const dims = shapesOf(*job);
    PluginTensorDesc inputDescs[kInputs], outputDescs[kOutputs];
    for (int i = 0; i < kInputs; ++i) inputDescs[i] = describe(dims[i], i < 2 ? state : DataType::kFLOAT);
    outputDescs[0] = describe(dims[6], DataType::kFLOAT);
    outputDescs[1] = describe(dims[7], state);
    if (attached.runtime->onShapeChange(inputDescs, kInputs, outputDescs, kOutputs) != 0) return -6;
    void const* const inputs[] = {job->logits, job->prev_probs, job->motion, job->keep, job->centers, job->temperature};
    void* const outputs[] = {job->ab, job->probs};
    return attached.runtime->enqueue(
        inputDescs, outputDescs, inputs, outputs, nullptr, static_cast<cudaStream_t>(stream));
}

}  // extern "C"
