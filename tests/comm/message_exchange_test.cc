// The data plane by itself, over the in-process transport.
#include "comm/message_exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "comm/in_process.h"

namespace syncbn::comm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// One process: its exchange, and the driver that hands it its messages.
class Process : private MessageHandler {
 public:
  explicit Process(Communicator& communicator) : communicator_(communicator), exchange(communicator, failure) {}

  // Delivers what has come; the owners of what is complete.
  std::vector<std::string> Drive() {
    communicator_.Progress(*this, Communicator::IfBusy::kWait);
    std::vector<std::string> names;
    for (const auto& owner : exchange.Completed()) {
      names.push_back(*std::static_pointer_cast<std::string>(owner));
    }
    return names;
  }

  std::shared_ptr<Exchange::Series> Open(int64_t sequence, std::string_view name = "x") {
    Tensor tensor({1}, DType::kFloat32);
    const Signature signature =
        Signature::Of(0, communicator_.rank(), {.group = kAll, .contribution = tensor, .name = name});
    return exchange.Open({kAll, sequence}, signature, std::make_shared<std::string>(name));
  }

  // "rank.index=text" of each block, in order of ranks.
  std::vector<std::string> Take(Exchange::Series& series, int round, size_t bytes) {
    std::vector<std::string> texts;
    for (const Exchange::Block& block : exchange.Take(series, round)) {
      texts.push_back(
          std::to_string(block.rank) + "." + std::to_string(block.index) + "=" +
          std::string(reinterpret_cast<const char*>(block.bytes.DeviceAddress()), bytes));
    }
    std::ranges::sort(texts);
    return texts;
  }

 private:
  static constexpr Group kAll{0, 3};

  ReceiveBuffer OnHead(int from, std::span<const std::byte> head, size_t body_bytes) override {
    return exchange.OnHead(from, MessageHead::Of(head), body_bytes);
  }
  void OnBody(int, const ReceiveBuffer& buffer) override { exchange.OnBody(buffer); }

  Communicator& communicator_;

 public:
  Failure failure;
  MessageExchange exchange;
};

class MessageExchangeTest : public ::testing::Test {
 protected:
  static Tensor Bytes(std::string_view text) {
    Tensor bytes({static_cast<int64_t>(text.size())}, DType::kUint8);
    std::ranges::copy(std::as_bytes(std::span(text)), bytes.Bytes().begin());
    return bytes;
  }

  std::vector<std::unique_ptr<Communicator>> communicators_ = MakeInProcessCommunicators(3);
  Process a_{*communicators_[0]}, b_{*communicators_[1]}, c_{*communicators_[2]};
};

TEST_F(MessageExchangeTest, AnAllGatherGivesEverybodyTheBlocksOfTheOthers) {
  const auto a = a_.Open(0), b = b_.Open(0), c = c_.Open(0);
  EXPECT_FALSE(a_.exchange.AllGather(*a, 0, Bytes("aa"), {{.rank = 1}, {.rank = 2}}));
  EXPECT_FALSE(b_.exchange.AllGather(*b, 0, Bytes("bb"), {{.rank = 0}, {.rank = 2}}));
  EXPECT_THAT(a_.Drive(), IsEmpty());
  EXPECT_EQ(a_.exchange.Announced(*a, 0, 1), 1);
  EXPECT_EQ(a_.exchange.Announced(*a, 0, 2), 0);
  EXPECT_FALSE(c_.exchange.AllGather(*c, 0, Bytes("cc"), {{.rank = 0}, {.rank = 1}}));
  EXPECT_THAT(a_.Drive(), ElementsAre("x"));
  EXPECT_THAT(b_.Drive(), ElementsAre("x"));
  EXPECT_THAT(c_.Drive(), ElementsAre("x"));
  EXPECT_THAT(a_.Take(*a, 0, 2), ElementsAre("1.0=bb", "2.0=cc"));
  EXPECT_THAT(b_.Take(*b, 0, 2), ElementsAre("0.0=aa", "2.0=cc"));
  EXPECT_THAT(c_.Take(*c, 0, 2), ElementsAre("0.0=aa", "1.0=bb"));
  EXPECT_EQ(a_.exchange.counters().messages, 2);
  EXPECT_EQ(a_.exchange.counters().bytes, 4);
}

TEST_F(MessageExchangeTest, AnAllToAllKeepsTheOrderOfBlocksForARankAndMayBeSparse) {
  const auto a = a_.Open(0), b = b_.Open(0);
  const Exchange::Outgoing outgoing[] = {{1, Bytes("one")}, {1, Bytes("two")}};
  EXPECT_TRUE(a_.exchange.AllToAll(*a, 0, outgoing, {}));
  EXPECT_FALSE(b_.exchange.AllToAll(*b, 0, {}, {{.rank = 0, .blocks = 2}}));
  EXPECT_THAT(b_.Drive(), ElementsAre("x"));
  EXPECT_THAT(b_.Take(*b, 0, 3), ElementsAre("0.0=one", "0.1=two"));
}

// Its sizes are those of the sender: nobody may merge it.
TEST_F(MessageExchangeTest, ABlockOfAnotherReductionCompletesNoRound) {
  const auto a = a_.Open(0, "longer"), b = b_.Open(0);
  const Exchange::Outgoing to_b{1, Bytes("longer")};
  a_.exchange.AllToAll(*a, 0, {&to_b, 1}, {});
  EXPECT_FALSE(b_.exchange.AllToAll(*b, 0, {}, {{.rank = 0}}));
  EXPECT_THAT(b_.Drive(), IsEmpty());
  EXPECT_TRUE(b_.failure.failed());
  // One that was there before the receiver has begun.
  const auto early = a_.Open(2, "longer");
  const Exchange::Outgoing to_c{2, Bytes("longer")};
  a_.exchange.AllToAll(*early, 0, {&to_c, 1}, {});
  c_.Drive();
  const auto late = c_.Open(2);
  EXPECT_TRUE(c_.failure.failed());
  EXPECT_FALSE(c_.exchange.AllToAll(*late, 0, {}, {{.rank = 0}}));
  EXPECT_THAT(c_.Drive(), IsEmpty());
}

TEST_F(MessageExchangeTest, WhatComesBeforeItsReceiverHasBegunIsKept) {
  // Two rounds of one series and one of the next.
  const auto a = a_.Open(0), later = a_.Open(1);
  for (const int round : {0, 1}) {
    const Exchange::Outgoing outgoing{1, Bytes(round == 0 ? "first" : "other")};
    a_.exchange.AllToAll(*a, round, {&outgoing, 1}, {});
  }
  const Exchange::Outgoing outgoing{1, Bytes("later")};
  a_.exchange.AllToAll(*later, 0, {&outgoing, 1}, {});
  EXPECT_THAT(b_.Drive(), IsEmpty());
  const auto b_later = b_.Open(1), b = b_.Open(0);
  EXPECT_TRUE(b_.exchange.AllToAll(*b_later, 0, {}, {{.rank = 0}}));
  EXPECT_TRUE(b_.exchange.AllToAll(*b, 0, {}, {{.rank = 0}}));
  EXPECT_TRUE(b_.exchange.AllToAll(*b, 1, {}, {{.rank = 0}}));
  EXPECT_THAT(b_.Take(*b_later, 0, 5), ElementsAre("0.0=later"));
  EXPECT_THAT(b_.Take(*b, 0, 5), ElementsAre("0.0=first"));
  EXPECT_THAT(b_.Take(*b, 1, 5), ElementsAre("0.0=other"));
}

TEST_F(MessageExchangeTest, ABlockLandsWhereItIsExpectedEvenBeforeItsRoundIsLaunched) {
  const auto a = a_.Open(0), b = b_.Open(0);
  Tensor memory({5}, DType::kUint8);
  const std::vector<Exchange::Incoming> incoming = {{.rank = 0, .memory = memory}};
  b_.exchange.Expect(*b, 1, incoming);
  const Exchange::Outgoing outgoing{1, Bytes("hello")};
  a_.exchange.AllToAll(*a, 1, {&outgoing, 1}, {});
  EXPECT_THAT(b_.Drive(), IsEmpty());
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(memory.DeviceAddress()), 5), "hello");
  EXPECT_TRUE(b_.exchange.AllToAll(*b, 1, {}, incoming));
}

TEST_F(MessageExchangeTest, WhoExchangesSomethingElseFailsTheRunWhoeverIsFirst) {
  const auto a = a_.Open(0, "one");
  const Exchange::Outgoing outgoing[] = {{1, Bytes("x")}, {2, Bytes("x")}};
  a_.exchange.AllToAll(*a, 0, outgoing, {});
  const auto b = b_.Open(0, "other");
  b_.Drive();
  c_.Drive();
  const auto c = c_.Open(0, "other");
  for (const Process* process : {&b_, &c_}) {
    ASSERT_TRUE(process->failure.failed());
    EXPECT_EQ(process->failure.cause().code, ErrorCode::kInternal);
    EXPECT_THAT(process->failure.cause().message, HasSubstr("'one'"));
    EXPECT_THAT(process->failure.cause().message, HasSubstr("'other'"));
  }
  EXPECT_FALSE(a_.failure.failed());
}

TEST_F(MessageExchangeTest, AClosedSeriesKeepsNothingOfItsOwner) {
  const auto owner = std::make_shared<std::string>("owner");
  const auto series = a_.exchange.Open({{0, 3}, 0}, Signature(), owner);
  EXPECT_EQ(owner.use_count(), 2);
  a_.exchange.Close(*series);
  EXPECT_EQ(owner.use_count(), 1);
}

}  // namespace
}  // namespace syncbn::comm
