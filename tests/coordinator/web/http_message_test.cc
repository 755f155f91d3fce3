#include "coordinator/service/http_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace syncbn::coordinator {
namespace {

using State = HttpParse::State;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kGet = "GET /jobs?x=1 HTTP/1.1\r\nHost: a\r\n\r\n";
constexpr const char* kPost = "POST /p HTTP/1.1\r\nContent-Length: 3\r\nX-Y:  z \r\n\r\nabc";

TEST(HttpMessage, IsReadByItsParts) {
  const HttpParse get = ParseHttp(kGet, {});
  ASSERT_EQ(get.state, State::kWhole);
  EXPECT_EQ(get.request.method, "GET");
  EXPECT_EQ(get.request.path, "/jobs");
  EXPECT_EQ(get.request.query, "x=1");
  EXPECT_TRUE(get.request.keep_alive);
  const HttpParse post = ParseHttp(std::string(kPost) + "GET", {});
  ASSERT_EQ(post.state, State::kWhole);
  EXPECT_EQ(post.request.body, "abc");
  EXPECT_EQ(*post.request.Header("x-y"), "z");
  EXPECT_EQ(post.used, std::string(kPost).size()) << "what follows is another request's";
}

TEST(HttpMessage, EveryBeginningOfOneIsNotWholeYet) {
  for (const std::string whole : {kGet, kPost}) {
    for (size_t size = 0; size < whole.size(); ++size)
      EXPECT_EQ(ParseHttp(whole.substr(0, size), {}).state, State::kPartial) << size;
  }
}

TEST(HttpMessage, WhatTwoReadersCouldTakeForDifferentRequestsIsRefused) {
  const struct {
    const char* bytes;
    int status;
  } cases[] = {
      {"nonsense\r\n\r\n", 400},
      {"GET  HTTP/1.1\r\n\r\n", 400},
      {"GET http://a/ HTTP/1.1\r\n\r\n", 400},
      {"GET /\x01 HTTP/1.1\r\n\r\n", 400},
      {"G=T / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/2.0\r\n\r\n", 505},
      {"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nName : x\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nA: x\r\n folded\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nA: x\ny\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501},
      {"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400},
      {"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 1x\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413},
  };
  for (const auto& one : cases) {
    const HttpParse parse = ParseHttp(one.bytes, {});
    EXPECT_EQ(parse.state, State::kBad) << one.bytes;
    EXPECT_EQ(parse.refusal, one.status) << one.bytes;
  }
  EXPECT_EQ(ParseHttp(std::string(20'000, 'x'), {}).refusal, 431);
}

TEST(HttpMessage, NoValueBeginsAHeaderOfItsOwn) {
  const std::string text = SerializeHttp(
      {.headers = {{"Location", "/a\r\nSet-Cookie: x"}}, .body = "b"}, HttpBody::kWhole, true);
  EXPECT_THAT(text, HasSubstr("Location: /a  Set-Cookie: x\r\n"));
  EXPECT_THAT(text, Not(HasSubstr("\nSet-Cookie")));
  EXPECT_TRUE(text.ends_with("\r\n\r\nb"));
  EXPECT_THAT(SerializeHttp({.body = "abc"}, HttpBody::kHead, false),
              HasSubstr("Content-Length: 3\r\nConnection: close\r\n\r\n"));
}

}  // namespace
}  // namespace syncbn::coordinator
