// What TensorRT looks for in a library of plugins: the creators of all operators, and the way to a logger.
#include "trt/convert.h"
#include "trt/logger.h"
#include "trt/plugin.h"

namespace ek::trt {
namespace {

class Creator final : public nvinfer1::IPluginCreatorV3One {
  public:
    explicit Creator(std::unique_ptr<logic::PluginOperator> op) : op_(std::move(op)) {
        for (auto const& field : op_->fields().all())
            fields_.emplace_back(field.name, nullptr, type_of(field.type), field.length());
        collection_ = {int32_t(fields_.size()), fields_.data()};
    }

    // The fields are those of a node, or those that Plugin::getFieldsToSerialize gave: the same ones.
    nvinfer1::IPluginV3* createPlugin(char const* name, nvinfer1::PluginFieldCollection const* fields,
                                      nvinfer1::TensorRTPhase) noexcept override {
        Plugin* made = nullptr;
        guarded(op_->name(), name ? name : "createPlugin", [&] {
            std::vector<logic::GivenField> given;
            for (int32_t i = 0; fields && i < fields->nbFields; ++i) {
                auto const& [field, data, type, length] = fields->fields[i];
                given.push_back({field ? field : "", type_of(type), data, length});
            }
            auto op = op_->clone();
            std::string why = op->set(given.data(), int(given.size()));
            if (why.empty()) made = new Plugin(std::move(op));
            return logic::invalid(std::move(why));
        });
        return made;
    }

    nvinfer1::PluginFieldCollection const* getFieldNames() noexcept override { return &collection_; }
    char const* getPluginName() const noexcept override { return op_->name(); }
    char const* getPluginVersion() const noexcept override { return kVersion; }
    char const* getPluginNamespace() const noexcept override { return kNamespace; }

  private:
    std::unique_ptr<logic::PluginOperator> op_;
    std::vector<nvinfer1::PluginField> fields_;
    nvinfer1::PluginFieldCollection collection_{};
};

}  // namespace
}  // namespace ek::trt

extern "C" {

// IPluginRegistry::loadLibrary calls both: tests/plugins/test_trt.py sees it do so in TensorRT-RTX.
nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
    using namespace ek;
    static trt::Creator lstm(logic::lstm_plugin()), gru(logic::gru_plugin()), rnn(logic::rnn_plugin()),
        attention(logic::attention_plugin());
    static nvinfer1::IPluginCreatorInterface* const all[] = {&lstm, &gru, &rnn, &attention};
    count = sizeof all / sizeof *all;
    return all;
}

void setLoggerFinder(nvinfer1::ILoggerFinder* finder) { ek::trt::set_logger_finder(finder); }

}  // extern "C"
