// The objects that TensorRT hands to a plugin, as little of each as a plugin uses.
#pragma once
#include <cstdio>
#include <functional>
#include <memory>
#include <vector>

#include "trt/version.h"

namespace ek::harness {

// Says what is logged on stdout.
class Logger final : public nvinfer1::ILogger {
  public:
    void log(Severity, nvinfer1::AsciiChar const* text) noexcept override { std::printf("log: %s\n", text); }
};

class LoggerFinder final : public nvinfer1::ILoggerFinder {
  public:
    nvinfer1::ILogger* findLogger() override { return &logger_; }

  private:
    Logger logger_;
};

// A dimension in one run.
using Value = std::function<int64_t(int run)>;

class Expression final : public nvinfer1::IDimensionExpr {
  public:
    Expression(Value value, bool constant) : impl_(std::move(value), constant) { mImpl = &impl_; }
    ~Expression() noexcept override = default;
    int64_t in(int run) const { return impl_.value(run); }

  private:
    struct Impl final : nvinfer1::apiv::VDimensionExpr {
        Impl(Value value, bool constant) : value(std::move(value)), constant(constant) {}
        bool isConstant() const override { return constant; }
        int64_t getConstantValue() const override { return constant ? value(0) : INT64_MIN; }
        bool isSizeTensor() const override { return false; }
        Value value;
        bool constant;
    } impl_;
};

class ExpressionBuilder final : public nvinfer1::IExprBuilder {
  public:
    ExpressionBuilder() : impl_(made_) { mImpl = &impl_; }
    ~ExpressionBuilder() noexcept override = default;

    Expression const* make(Value value, bool constant) { return impl_.make(std::move(value), constant); }

  private:
    using Expr = nvinfer1::IDimensionExpr;

    struct Impl final : nvinfer1::apiv::VExprBuilder {
        explicit Impl(std::vector<std::unique_ptr<Expression>>& made) : made(made) {}
        Expression const* make(Value value, bool constant) {
            made.push_back(std::make_unique<Expression>(std::move(value), constant));
            return made.back().get();
        }
        Expr const* constant(int64_t value) override {
            return make([value](int) { return value; }, true);
        }
        Expr const* operation(nvinfer1::DimensionOperation op, Expr const& first, Expr const& second) override {
            if (op != nvinfer1::DimensionOperation::kSUM) return nullptr;
            auto const &a = static_cast<Expression const&>(first), &b = static_cast<Expression const&>(second);
            return make([&a, &b](int run) { return a.in(run) + b.in(run); }, a.isConstant() && b.isConstant());
        }
        Expr const* declareSizeTensor(int32_t, Expr const&, Expr const&) override { return nullptr; }
        std::vector<std::unique_ptr<Expression>>& made;
    };

    std::vector<std::unique_ptr<Expression>> made_;
    Impl impl_;
};

}  // namespace ek::harness
