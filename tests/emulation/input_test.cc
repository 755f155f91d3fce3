// How batches come to the device: copied ahead of the step that reads them, and made there of the
// bytes of the data set.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "backend/cuda/cuda_backend.h"
#include "data/loader.h"
#include "tests/data/data_files.h"
#include "tests/data/image_files.h"
#include "tests/emulation/runtime.h"
#include "tests/support/in_process_run.h"
#include "tests/support/small_run.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_device.h"

namespace syncbn {
namespace {

[[maybe_unused]] const bool on_the_emulated_gpu = [] {
  ::setenv("SYNCBN_TEST_DEVICE", "emulated", 1);
  backend::make_emulated_backend = [] { return backend::cuda::MakeBackend(); };
  return true;
}();

// -- Batches -------------------------------------------------------------------------------------

constexpr int64_t kSamples = 53;
constexpr int64_t kSteps = 5;  // of an epoch: the last is a partial one
const std::vector<int64_t> kBatches = {4, 0, 7, 1};

bool SameBytes(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.Bytes().data(), b.Bytes().data(), a.bytes()) == 0;
}

// A batch as the device has it.
struct Seen {
  Tensor images, labels;
  std::vector<uint64_t> sample_ids;
  int64_t epoch = 0;
};

class EmulatedInput : public ::testing::Test {
 protected:
  explicit EmulatedInput(data::ImageShape image = {7, 5, 3})
      : dataset_(data::PatternDataset(kSamples, image)),
        maker_(dataset_, {.augment = {.crop_padding = 2, .horizontal_flip = true, .cutout = 3},
                          .seed = 11,
                          .standardize = dataset_.ComputeStatistics()}) {}
  ~EmulatedInput() override { emulation::SetDelays({}); }

  std::unique_ptr<data::Loader> MakeLoader(backend::Stream* copies, int prefetch = 2) {
    return std::make_unique<data::Loader>(
        maker_, data::Sampler({.samples = kSamples, .seed = 11}),
        data::BatchPlan(kSamples, kBatches, v1::LAST_BATCH_KEEP),
        data::Loader::Options{.replicas = 4, .prefetch = prefetch, .copies = copies});
  }
  // What the device sees of two epochs, by steps that wait for nothing.
  std::vector<Seen> Train(data::Loader& loader, bool behind_its_event = true) {
    std::vector<Seen> seen;
    for (int64_t step = 0; step < 2 * kSteps; ++step) {
      for (int replica = 0; replica < 4; ++replica) {
        data::LoadedBatch loaded = loader.Next(replica);
        data::Batch& batch = loaded.batch;
        if (!behind_its_event) batch.ready = {};
        seen.push_back({.images = data::TakeImages(*executor_, batch),
                        .labels = executor_->Clone(batch.labels),
                        .sample_ids = batch.sample_ids,
                        .epoch = loaded.epoch});
      }
    }
    return seen;
  }
  // How many are not what the host makes of the same samples.
  int Wrong(const std::vector<Seen>& all) {
    int wrong = 0;
    for (const Seen& seen : all) {
      const data::Batch expected = maker_.Make(seen.sample_ids, seen.epoch);
      wrong += !SameBytes(seen.images.OnHost(), expected.images.As(seen.images.dtype())) ||
               !SameBytes(seen.labels.OnHost(), expected.labels);
    }
    return wrong;
  }

  const data::Dataset dataset_;
  const data::BatchMaker maker_;
  const std::unique_ptr<backend::Backend> backend_ = backend::cuda::MakeBackend();
  std::unique_ptr<backend::Executor> executor_ = backend_->MakeExecutor();
  std::unique_ptr<backend::Stream> copies_ = backend_->MakeCopyStream();
};

TEST_F(EmulatedInput, BatchesHaveTheBitsThatTheHostMakes) {
  for (const int prefetch : {0, 1, 2}) {
    EXPECT_EQ(Wrong(Train(*MakeLoader(copies_.get(), prefetch))), 0) << "prefetch " << prefetch;
  }
  const std::unique_ptr<backend::Backend> bf16 =
      backend_->WithPrecision(backend::Precision::kBFloat16);
  executor_ = bf16->MakeExecutor();
  const std::vector<Seen> seen = Train(*MakeLoader(copies_.get()));
  EXPECT_EQ(seen.front().images.dtype(), DType::kBFloat16);
  EXPECT_EQ(Wrong(seen), 0);
}

TEST_F(EmulatedInput, EveryKindOfImageHasTheBitsThatTheHostMakes) {
  const std::vector<uint64_t> ids = {3, 17, 4, 52, 0};
  // Those of MNIST, of CIFAR, and others.
  for (const data::ImageShape image :
       {data::ImageShape{28, 28, 1}, {32, 32, 3}, {1, 1, 1}, {3, 4, 2}, {2, 9, 5}}) {
    const data::Dataset dataset = data::PatternDataset(kSamples, image);
    for (const int64_t padding : {0, 4, 32}) {
      for (const bool flip : {false, true}) {
        // Cut out of the flipped ones.
        const data::BatchMaker maker(
            dataset,
            {.augment = {.crop_padding = padding, .horizontal_flip = flip, .cutout = flip ? 4 : 0},
             .seed = 5,
             .standardize = dataset.ComputeStatistics()});
        for (const int64_t epoch : {0, 1}) {
          data::Batch batch = maker.MakeFor(*executor_, ids, epoch);
          EXPECT_EQ(batch.sample_ids, ids);
          EXPECT_TRUE(SameBytes(data::TakeImages(*executor_, batch).OnHost(),
                                maker.Make(ids, epoch).images))
              << image.ToString() << ", padding " << padding << ", flip " << flip;
        }
      }
    }
  }
  data::Batch empty = maker_.MakeFor(*executor_, {}, 0);
  EXPECT_EQ(data::TakeImages(*executor_, empty).shape(), (Shape{0, 7, 5, 3}));
  EXPECT_EQ(empty.labels.shape(), (Shape{0}));
}

TEST_F(EmulatedInput, CopiesRunAheadAndTheHostWaitsForNothing) {
  emulation::SetDelays({.share = 1, .microseconds = 1000});
  const int64_t before = emulation::HostSynchronizations();
  const std::vector<Seen> seen = Train(*MakeLoader(copies_.get()));
  EXPECT_EQ(emulation::HostSynchronizations(), before);
  // Memory from which the device copies late was not used again before.
  EXPECT_EQ(Wrong(seen), 0);
}

TEST_F(EmulatedInput, PinnedMemoryIsUsedAgainOnceTheDeviceHasCopiedIt) {
  const int64_t before = emulation::PinnedAllocations();
  const std::unique_ptr<data::Loader> loader = MakeLoader(copies_.get());
  for (int64_t step = 0; step < 8 * kSteps; ++step) {
    for (int replica = 0; replica < 4; ++replica) {
      data::LoadedBatch loaded = loader->Next(replica);
      data::TakeImages(*executor_, loaded.batch);
    }
    executor_->Synchronize();
  }
  // Of each replica the batches that are made ahead, the one that is read, and one that is being
  // made.
  EXPECT_LE(emulation::PinnedAllocations() - before, 4 * (2 + 2));
}

class EmulatedInputOfCifar : public EmulatedInput {
 protected:
  EmulatedInputOfCifar() : EmulatedInput({32, 32, 3}) {}
};

TEST_F(EmulatedInputOfCifar, ABatchIsCopiedInOnePieceOfAQuarterOfItsImagesBytes) {
  std::vector<uint64_t> ids;
  for (uint64_t id = 0; id < 32; ++id) ids.push_back(id);
  const data::Batch images = maker_.Make(ids, 0);
  const int64_t before = emulation::BytesUploaded(), operations = emulation::OperationsGiven();
  const data::Batch batch = maker_.MakeFor(*copies_, ids, 0);
  EXPECT_EQ(emulation::OperationsGiven() - operations, 1);
  const int64_t quarter = static_cast<int64_t>(images.images.bytes() / 4);
  EXPECT_GE(emulation::BytesUploaded() - before, quarter);
  // With labels, changes, and the values of the bytes.
  EXPECT_LE(emulation::BytesUploaded() - before, quarter + 32 * 36 + 3 * 1024 + 256);
}

// -- Mistakes that must show ------------------------------------------------------------------

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_F(EmulatedInput, ABatchThatIsReadBeforeItsEventShows) {
  emulation::SetDelays({.share = 1, .microseconds = 1000});
  const std::unique_ptr<data::Loader> loader = MakeLoader(copies_.get());
  EXPECT_GT(Wrong(Train(*loader, /*behind_its_event=*/false)), 0);
}
#endif

// A stream that gives out the same memory of the host again and again.
class UsedAgainTooEarly final : public backend::Stream {
 public:
  explicit UsedAgainTooEarly(backend::Stream& inner) : inner_(inner) {}
  const Device& device() const override { return inner_.device(); }
  Tensor New(Shape shape, DType dtype) override { return inner_.New(shape, dtype); }
  Tensor NewOnHost(Shape shape, DType dtype) override {
    if (!memory_.defined()) memory_ = inner_.NewOnHost({1 << 20}, DType::kUint8);
    const int64_t bytes = shape.elements() * static_cast<int64_t>(SizeOf(dtype));
    return memory_.Slice(0, {bytes}).Viewed(shape, dtype);
  }
  backend::Event Record() override { return inner_.Record(); }
  void WaitFor(const backend::Event& event) override { inner_.WaitFor(event); }
  void Synchronize() override { inner_.Synchronize(); }
  void Zero(std::span<Tensor> tensors) override { inner_.Zero(tensors); }
  void Fill(Tensor& x, double value) override { inner_.Fill(x, value); }
  void Copy(const Tensor& from, Tensor& to) override { inner_.Copy(from, to); }
  Tensor Upload(const Tensor& x) override { return inner_.Upload(x); }

 private:
  backend::Stream& inner_;
  Tensor memory_;
};

#ifndef __SANITIZE_THREAD__
TEST_F(EmulatedInput, MemoryThatIsUsedAgainBeforeItIsCopiedShows) {
  emulation::SetDelays({.share = 1, .microseconds = 1000});
  UsedAgainTooEarly copies(*copies_);
  const std::unique_ptr<data::Loader> loader = MakeLoader(&copies);
  EXPECT_GT(Wrong(Train(*loader)), 0);
}
#endif

// -- Runs ----------------------------------------------------------------------------------------

v1::RunSpec Small(int replicas, int batch, v1::Precision precision, int steps) {
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(replicas, batch, "global"));
  spec.set_precision(precision);
  spec.mutable_train()->set_max_steps(steps);
  return spec;
}

TEST(EmulatedInputOfRuns, BitsAreThoseOfImagesThatTheHostMakes) {
  for (const v1::Precision precision : {v1::PRECISION_FLOAT32, v1::PRECISION_BF16}) {
    const v1::RunSpec spec = Small(4, 8, precision, 5);
    const InProcessRunResult device = RunInProcess(spec, {.processes = 2});
    int64_t batches = 0;
    const InProcessRunResult host =
        RunInProcess(spec, {.adjust = [&](int, train::TrainerOptions& options) {
                       options.on_batch = [&](int64_t, int, data::Batch& batch) {
                         static std::mutex mutex;
                         const std::lock_guard lock(mutex);
                         batches += batch.images.defined() && batch.images.on_host();
                       };
                     }});
    EXPECT_EQ(batches, 4 * 5);
    EXPECT_EQ(device.StepDigests(), host.StepDigests());
  }
}

TEST(EmulatedInputOfRuns, GoOnInTheMiddleOfAnEpochInTheSameBits) {
  // An epoch has 4 steps.
  const InProcessRunResult whole = RunInProcess(Small(4, 8, v1::PRECISION_FLOAT32, 7), {});
  TempFolder folder;
  RunInProcess(Small(4, 8, v1::PRECISION_FLOAT32, 5), {.processes = 3, .out = folder.path()});
  const InProcessRunResult rest =
      RunInProcess(Small(4, 8, v1::PRECISION_FLOAT32, 7),
                   {.processes = 2, .out = folder.path(), .resume = true});
  ASSERT_EQ(rest.records.size(), 2U);
  EXPECT_EQ(rest.records.front().step, 5);
  EXPECT_EQ(rest.summary.digest, whole.summary.digest);
}

// Images of files are decoded by the loader's threads to evaluate, too, a sample each.
TEST(EmulatedInputOfRuns, ImagesOfFilesGiveTheSameFiguresWhoeverDecodesThem) {
  TempFolder folder;
  for (int i = 0; i < 42; ++i) {
    const std::filesystem::path split = folder.path() / (i % 3 == 0 ? "val" : "train"),
                                name = std::to_string(i) + ".png";
    std::filesystem::create_directories(split / std::to_string(i % 2));
    data::WritePng(split / std::to_string(i % 2) / name, data::Ramp(20 + i, 40 - i % 7, 3, 5 * i));
  }
  v1::RunSpec spec = RunSpecFromYaml(
      "data:\n"
      "  dataset: image_folder\n"
      "  path: " +
      folder.path().string() +
      "\n"
      "  image_size: 16\n"
      "  augment: {random_resized_crop: [0.3, 1], horizontal_flip: true}\n"
      "model:\n"
      "  norm: {batch: global}\n"
      "  layers: [{conv: {out: 4, kernel: 3}}, norm, relu, global_average_pool, {linear: 2}]\n"
      "cluster: {replicas: 4, batch_per_replica: 2}\n"
      "train: {epochs: 2, evaluate: {with: [running, precise, batch], precise_samples: 13}}\n");
  emulation::SetDelays({.share = 1, .microseconds = 300});
  std::vector<train::Summary> summaries;
  for (const int prefetch : {0, 1, 3}) {
    spec.mutable_data()->set_prefetch(prefetch);
    summaries.push_back(
        RunInProcess(
            spec, {.concurrency = 3,
                   .adjust = [](int, train::TrainerOptions& options) { options.evaluate = true; }})
            .summary);
  }
  emulation::SetDelays({});
  ASSERT_EQ(summaries[0].test.size(), 3U);
  for (const train::Summary& summary : summaries) {
    EXPECT_EQ(summary.digest, summaries[0].digest);
    for (const auto& [statistics, figures] : summary.test) {
      EXPECT_EQ(figures.loss, summaries[0].test.at(statistics).loss) << statistics;
      EXPECT_EQ(figures.accuracy, summaries[0].test.at(statistics).accuracy) << statistics;
    }
  }
}

}  // namespace
}  // namespace syncbn
