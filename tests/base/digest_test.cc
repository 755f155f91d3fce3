#include "base/digest.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace syncbn {
namespace {

TEST(Digester, OfPiecesEqualsDigestOfTheWhole) {
  const std::string text = "moments, scale and shift";
  Digester digester;
  digester.Add(std::string_view(text).substr(0, 7));
  digester.Add(std::string_view(text).substr(7));
  EXPECT_EQ(digester.Finish(), DigestOf(std::as_bytes(std::span(text.data(), text.size()))));
}

TEST(Digest, HexReadsBack) {
  const Digest digest{0x0123456789abcdef, 0xfedcba9876543210};
  EXPECT_EQ(digest.Hex(), "0123456789abcdeffedcba9876543210");
  EXPECT_EQ(Digest::FromHex(digest.Hex()), digest);
  EXPECT_THROW(Digest::FromHex("12"), Error);
  EXPECT_THROW(Digest::FromHex("0123456789abcdefgedcba9876543210"), Error);
}

}  // namespace
}  // namespace syncbn
