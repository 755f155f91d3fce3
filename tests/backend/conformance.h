// The fixture that runs one operation on the back end under test and on the reference.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "tests/backend/support.h"

namespace syncbn::backend {

struct BackendCase {
  std::string name;
  std::unique_ptr<Backend> (*make)();
};
void PrintTo(const BackendCase& backend, std::ostream* out);
// Which back ends a program tests is decided by the source it is linked with: backends_all.cc or
// backends_reference.cc.
std::vector<BackendCase> BackendsUnderTest();
std::string NameOfCase(const ::testing::TestParamInfo<BackendCase>& info);

// An operation and its results. It casts its F64 inputs to the executor's type itself (In).
using Operation = std::function<std::vector<Tensor>(Executor&)>;

class ConformanceTest : public ::testing::TestWithParam<BackendCase> {
 protected:
  ConformanceTest();

  Executor& tested() { return *tested_; }
  Executor& reference() { return *reference_; }
  std::unique_ptr<Executor> NewExecutor() { return backend_->MakeExecutor(); }

  // The operation gives the reference's results, to within rounding of sums of `terms` terms:
  // errors of the partial sums are independent and add up like a random walk, to sqrt(terms) * eps
  // of the result's size; `factor` units of that are allowed. eps is that of what is computed with:
  // activations that are BF16 are computed with as float32, and rounded once, when they are stored
  // (Near). `stored`: how often something is that goes on into a result of the same size.
  void ExpectClose(const Operation& operation, int64_t terms, double factor = 4, int stored = 0);
  // The same to the last bit, for inputs whose results are exact in float32; in BF16, the nearest
  // of these.
  void ExpectExact(const Operation& operation);

  // factor * sqrt(terms) * eps.
  double Rounding(int64_t terms, double factor = 2) const;
  // Of something that is stored so often: 2^-8 each where activations are BF16.
  double StoredRounding(int times) const;
  bool StoresBFloat16() const { return backend_->types().activations == DType::kBFloat16; }

  // The results of the tested back end, with a weights version of its own.
  std::vector<Tensor> Tested(const Operation& operation);

 private:
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Executor> tested_, reference_;
};

}  // namespace syncbn::backend
