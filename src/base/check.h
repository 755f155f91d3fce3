// Checks that stay on in release builds and print both values.
//
//   SYNCBN_CHECK(handle != nullptr) << "handle of " << name;
//   SYNCBN_CHECK_EQ(x.shape().rank(), 4) << "conv2d input";
//
// They guard what only a bug can break and throw Error(kInternal). What a user can cause is reported
// by throwing an Error with the right code and a message that says what to do.
#pragma once

#include <sstream>
#include <string>

#include "base/error.h"

namespace syncbn::check_internal {

// Collects the message and throws at the end of the full expression.
class Failure {
 public:
  Failure(const char* file, int line, const std::string& what);
  [[noreturn]] ~Failure() noexcept(false);
  std::ostream& stream() { return stream_; }

 private:
  std::ostringstream stream_;
};

// Lets the ternary of SYNCBN_CHECK have type void while `<<` binds tighter than `&`.
struct Voidify {
  void operator&(std::ostream&) const {}
};

template <typename A, typename B>
std::string Describe(const char* expression, const A& a, const B& b) {
  std::ostringstream out;
  out << "check failed: " << expression << " (" << a << " vs " << b << ")";
  return out.str();
}

}  // namespace syncbn::check_internal

#define SYNCBN_CHECK(condition)                                             \
  (condition) ? (void)0                                                     \
              : ::syncbn::check_internal::Voidify() &                       \
                    ::syncbn::check_internal::Failure(__FILE__, __LINE__,   \
                                                      "check failed: " #condition) \
                        .stream()

#define SYNCBN_CHECK_OP(a, op, b)                                                              \
  ((a)op(b)) ? (void)0                                                                         \
             : ::syncbn::check_internal::Voidify() &                                           \
                   ::syncbn::check_internal::Failure(                                          \
                       __FILE__, __LINE__,                                                     \
                       ::syncbn::check_internal::Describe(#a " " #op " " #b, (a), (b)))        \
                       .stream()

#define SYNCBN_CHECK_EQ(a, b) SYNCBN_CHECK_OP(a, ==, b)
#define SYNCBN_CHECK_LT(a, b) SYNCBN_CHECK_OP(a, <, b)
#define SYNCBN_CHECK_LE(a, b) SYNCBN_CHECK_OP(a, <=, b)
#define SYNCBN_CHECK_GT(a, b) SYNCBN_CHECK_OP(a, >, b)
#define SYNCBN_CHECK_GE(a, b) SYNCBN_CHECK_OP(a, >=, b)
