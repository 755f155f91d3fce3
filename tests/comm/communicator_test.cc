// The in-process transport, the handshake, and what a program without mpirun gets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "backend/host_merge_stream.h"
#include "base/error.h"
#include "comm/handshake.h"
#include "comm/in_process.h"
#include "comm/mpi/mpi_session.h"
#include "comm/nccl/nccl.h"
#include "comm/shared_failure.h"

namespace syncbn::comm {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;

// Collects messages as "from:head:body bytes".
class Collector : public MessageHandler {
 public:
  ReceiveBuffer OnHead(int from, std::span<const std::byte> head, size_t body_bytes) override {
    text_ = std::to_string(from) + ":" +
            std::string(reinterpret_cast<const char*>(head.data()), head.size()) + ":";
    auto body = std::make_shared<std::vector<std::byte>>(body_bytes);
    return {.memory = body->data(), .owner = body, .token = body_bytes};
  }
  void OnBody(int, const ReceiveBuffer& buffer) override {
    const auto& body = *static_cast<std::vector<std::byte>*>(buffer.owner.get());
    long sum = 0;
    for (std::byte b : body) sum += static_cast<int>(b);
    messages.push_back(text_ + std::to_string(body.size()) + "/" + std::to_string(sum));
  }
  std::vector<std::string> messages;

 private:
  std::string text_;
};

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// Runs body(communicator) on a thread for each virtual process.
void RunRanks(int processes, const std::function<void(Communicator&)>& body) {
  auto communicators = MakeInProcessCommunicators(processes);
  std::vector<std::thread> threads;
  for (auto& communicator : communicators) {
    threads.emplace_back([&] { body(*communicator); });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(InProcess, DeliversHeadsAndBodiesInOrder) {
  auto communicators = MakeInProcessCommunicators(2);
  const auto large = std::make_shared<std::vector<std::byte>>(100'000, std::byte{2});
  communicators[0]->Send(1, Bytes("one"), Bytes("abc"), nullptr);
  communicators[0]->Send(1, Bytes("two"), *large, large);
  communicators[0]->Send(1, Bytes("three"), {}, nullptr);
  Collector collector;
  EXPECT_TRUE(communicators[1]->Progress(collector, Communicator::IfBusy::kWait));
  EXPECT_THAT(collector.messages,
              ::testing::ElementsAre("0:one:3/294", "0:two:100000/200000", "0:three:0/0"));
  EXPECT_FALSE(communicators[1]->Progress(collector, Communicator::IfBusy::kWait));
  EXPECT_EQ(large.use_count(), 1);
}

TEST(InProcess, DuplicatesDoNotMix) {
  auto communicators = MakeInProcessCommunicators(2);
  auto first0 = communicators[0]->Duplicate();
  first0->Send(1, Bytes("early"), {}, nullptr);
  auto second0 = communicators[0]->Duplicate();
  auto first1 = communicators[1]->Duplicate();
  auto second1 = communicators[1]->Duplicate();
  second0->Send(1, Bytes("second"), {}, nullptr);
  Collector in_first, in_second, in_original;
  first1->Progress(in_first, Communicator::IfBusy::kWait);
  second1->Progress(in_second, Communicator::IfBusy::kWait);
  communicators[1]->Progress(in_original, Communicator::IfBusy::kWait);
  EXPECT_THAT(in_first.messages, ::testing::ElementsAre("0:early:0/0"));
  EXPECT_THAT(in_second.messages, ::testing::ElementsAre("0:second:0/0"));
  EXPECT_TRUE(in_original.messages.empty());
}

TEST(InProcess, GathersAndBroadcasts) {
  RunRanks(4, [](Communicator& communicator) {
    for (int round = 0; round < 50; ++round) {
      const std::string mine = std::to_string(communicator.rank() * 100 + round);
      const std::vector<std::string> all = communicator.AllGather(mine);
      for (int rank = 0; rank < 4; ++rank) {
        EXPECT_EQ(all[static_cast<size_t>(rank)], std::to_string(rank * 100 + round));
      }
      EXPECT_EQ(communicator.Broadcast(2, mine), std::to_string(200 + round));
    }
  });
}

TEST(InProcess, AGatherWithoutTheOthersEndsInTime) {
  auto communicators = MakeInProcessCommunicators(2);
  try {
    communicators[0]->AllGather("alone", 20ms);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDeadlineExceeded);
    EXPECT_THAT(error.what(), HasSubstr("for 1 other ranks to join an exchange: 1"));
  }
}

TEST(InProcess, AnExchangeWithoutATimeoutOfItsOwnHasTheOneThatWasSet) {
  auto communicators = MakeInProcessCommunicators(2);
  communicators[0]->SetTimeout(1ms);
  EXPECT_THROW(communicators[0]->Barrier(), Error);
  EXPECT_THROW(communicators[0]->Broadcast(1, ""), Error);
}

TEST(InProcess, AGatherThatWasGivenUpDoesNotCountInTheNext) {
  auto communicators = MakeInProcessCommunicators(2);
  for (int attempt = 0; attempt < 3; ++attempt) {
    EXPECT_THROW(communicators[0]->AllGather("given up", 1ms), Error) << attempt;
  }
  std::thread other([&] {
    EXPECT_THAT(communicators[1]->AllGather("b"), ::testing::ElementsAre("a", "b"));
  });
  EXPECT_THAT(communicators[0]->AllGather("a"), ::testing::ElementsAre("a", "b"));
  other.join();
}

TEST(Handshake, AcceptsEqualFactsAndReturnsTheHosts) {
  RunRanks(3, [](Communicator& communicator) {
    const std::vector<Fact> facts = {{"binary", "a1"}, {"text with : and\nlines", "12:x"}};
    const std::string host = "h" + std::to_string(communicator.rank());
    EXPECT_THAT(Handshake(communicator, host, facts), ::testing::ElementsAre("h0", "h1", "h2"));
  });
}

TEST(Handshake, NamesTheFactTheValuesAndTheRanksOnEveryRank) {
  RunRanks(3, [](Communicator& communicator) {
    const int rank = communicator.rank();
    std::vector<Fact> facts = {{"oneDNN", "2.6.3"}, {"run file", rank == 1 ? "beef" : "cafe"}};
    if (rank == 2) facts.push_back({"data", "d1"});
    try {
      Handshake(communicator, "h" + std::to_string(rank), facts);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kFailedPrecondition);
      EXPECT_THAT(error.what(),
                  AllOf(HasSubstr("run file:\n    'beef' on rank 1 on h1\n    'cafe' on rank 0 on h0, "
                                  "rank 2 on h2"),
                        HasSubstr("data:\n    'd1' on rank 2 on h2\n    not given on rank 0 on h0, rank 1"),
                        ::testing::Not(HasSubstr("oneDNN"))));
    }
  });
}

TEST(ShareFailure, EveryProcessHearsOfTheFirstThatFailedAndWhoFailedKeepsItsOwn) {
  RunRanks(3, [](Communicator& communicator) {
    const int rank = communicator.rank();
    ShareFailure(communicator, nullptr, "begin");
    const auto said = [&](const std::exception_ptr& failure) -> std::string {
      try {
        ShareFailure(communicator, failure, "begin");
      } catch (const Error& error) {
        return std::string(ErrorCodeName(error.code())) + ": " + error.what();
      } catch (int number) {
        return "int " + std::to_string(number);
      }
      return "nothing";
    };
    // Rank 1 has no words for it, rank 2 throws no exception of the library.
    const std::string heard =
        said(rank == 0   ? nullptr
             : rank == 1 ? std::make_exception_ptr(Error(ErrorCode::kUnavailable, ""))
                         : std::make_exception_ptr(7));
    EXPECT_EQ(heard, rank == 0   ? "ABORTED: rank 1 could not begin: "
                     : rank == 1 ? "UNAVAILABLE: "
                                 : "int 7");
    EXPECT_EQ(said(rank == 2 ? std::make_exception_ptr(7) : nullptr),
              rank == 2 ? "int 7"
                        : "ABORTED: rank 2 could not begin: "
                          "an exception that is no std::exception");
  });
}

TEST(MpiSession, WithoutMpirunIsARunOfOneProcessThatNeverTouchesMpi) {
  if (MpiSession::UnderMpirun()) GTEST_SKIP() << "started by mpirun";
  MpiSession session;
  EXPECT_FALSE(session.uses_mpi());
  EXPECT_EQ(session.world().size(), 1);
  EXPECT_EQ(session.world().transport(), "in-process");
  EXPECT_THAT(session.world().AllGather("x"), ::testing::ElementsAre("x"));
}

TEST(Nccl, IsNotInThisProgramAndSaysSo) {
  auto communicators = MakeInProcessCommunicators(1);
  const auto merges = backend::MakeHostMergeStream();
  EXPECT_FALSE(HasNccl());
  EXPECT_THAT(WhyNotNccl(*communicators[0], *merges),
              ::testing::HasSubstr("no exchange over NCCL"));
  EXPECT_THROW(MakeNcclExchange(*communicators[0], *merges, std::chrono::seconds(1)), Error);
}

}  // namespace
}  // namespace syncbn::comm
