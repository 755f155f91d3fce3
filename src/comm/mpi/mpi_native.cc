#include "comm/mpi/mpi_native.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/unknown_value.h"

namespace syncbn::comm {
namespace {

// Moments travel as one element of [number of blocks, channels of each, the blocks], because an MPI
// operation is told nothing but the buffers.
extern "C" void MergeMomentsOp(void* in, void* inout, int* length, MPI_Datatype* type) {
  int bytes = 0;
  MPI_Type_size(*type, &bytes);
  const size_t count = static_cast<size_t>(bytes) / sizeof(double);
  for (int i = 0; i < *length; ++i) {
    const double* src = static_cast<const double*>(in) + static_cast<size_t>(i) * count;
    double* dst = static_cast<double*>(inout) + static_cast<size_t>(i) * count;
    const auto blocks = static_cast<size_t>(src[0]);
    const std::vector<int64_t> channels(src + 1, src + 1 + blocks);
    const size_t head = 1 + blocks;
    MergeMoments(channels, {dst + head, count - head}, {src + head, count - head});
  }
}

struct MpiRequest : NativeCollectives::Request {
  MPI_Request request = MPI_REQUEST_NULL;
  // Moments: what travels, and where the result goes.
  std::vector<double> message;
  size_t head = 0;
  double* data = nullptr;
  Tensor value;
};

class MpiNative : public NativeCollectives {
 public:
  MpiNative(std::shared_ptr<MpiPort> port, const std::vector<std::vector<int>>& rank_sets)
      : port_(std::move(port)) {
    std::lock_guard lock(port_->mutex);
    MPI_Group all = MPI_GROUP_NULL;
    CheckMpi(MPI_Comm_group(port_->comm, &all), "MPI_Comm_group");
    for (size_t i = 0; i < rank_sets.size(); ++i) {
      MPI_Comm comm = MPI_COMM_NULL;
      const std::vector<int>& ranks = rank_sets[i];
      if (std::find(ranks.begin(), ranks.end(), port_->rank) != ranks.end()) {
        MPI_Group group = MPI_GROUP_NULL;
        CheckMpi(MPI_Group_incl(all, static_cast<int>(ranks.size()), ranks.data(), &group),
                 "MPI_Group_incl");
        CheckMpi(MPI_Comm_create_group(port_->comm, group, static_cast<int>(i) + 1, &comm),
                 "MPI_Comm_create_group");
        MPI_Group_free(&group);
        CheckMpi(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
      }
      comms_.push_back(comm);
    }
    MPI_Group_free(&all);
    CheckMpi(MPI_Op_create(MergeMomentsOp, /*commute=*/0, &merge_), "MPI_Op_create");
  }

  ~MpiNative() override {
    std::lock_guard lock(port_->mutex);
    if (!running_.empty()) {
      // After a failure: MPI may still write to these, and needs their communicators.
      for (auto& request : running_) port_->abandoned.push_back(std::move(request));
      return;
    }
    for (MPI_Comm& comm : comms_) {
      if (comm != MPI_COMM_NULL) MPI_Comm_free(&comm);
    }
    for (auto& [size, type] : types_) MPI_Type_free(&type);
    MPI_Op_free(&merge_);
  }

  std::shared_ptr<Request> Start(int rank_set, const Content& content,
                                 const Tensor& value) override {
    auto request = std::make_shared<MpiRequest>();
    request->value = value;
    std::byte* const data = request->value.Bytes().data();
    const MPI_Comm comm = comms_[static_cast<size_t>(rank_set)];
    SYNCBN_CHECK(comm != MPI_COMM_NULL) << "all-reduce in a group of other processes";
    if (content.elements > std::numeric_limits<int>::max()) {
      throw Error(ErrorCode::kInvalidArgument,
                  "MPI_Allreduce takes at most 2^31 - 1 elements, got " +
                      std::to_string(content.elements) + ": use smaller buckets");
    }
    const int count = static_cast<int>(content.elements);
    if (content.operation == Operation::kMergeMoments) {
      request->head = 1 + content.channels.size();
      request->data = request->value.Data<double>();
      request->message.push_back(static_cast<double>(content.channels.size()));
      for (int64_t channels : content.channels) {
        request->message.push_back(static_cast<double>(channels));
      }
      request->message.insert(request->message.end(), request->data, request->data + count);
    }
    std::lock_guard lock(port_->mutex);
    switch (content.operation) {
      case Operation::kMergeMoments:
        CheckMpi(MPI_Iallreduce(MPI_IN_PLACE, request->message.data(), 1,
                                TypeOf(request->message.size()), merge_, comm, &request->request),
                 "MPI_Iallreduce");
        break;
      case Operation::kSum:
        CheckMpi(MPI_Iallreduce(MPI_IN_PLACE, data, count, NumberType(content.dtype), MPI_SUM, comm,
                                &request->request),
                 "MPI_Iallreduce");
        break;
    }
    running_.push_back(request);
    return request;
  }

  bool Test(Request& base) override {
    auto& request = static_cast<MpiRequest&>(base);
    {
      std::lock_guard lock(port_->mutex);
      int done = 0;
      CheckMpi(MPI_Test(&request.request, &done, MPI_STATUS_IGNORE), "MPI_Test");
      if (!done) return false;
      std::erase_if(running_, [&](const auto& running) { return running.get() == &request; });
    }
    std::copy(request.message.begin() + static_cast<std::ptrdiff_t>(request.head),
              request.message.end(), request.data);
    return true;
  }

 private:
  static MPI_Datatype NumberType(DType dtype) {
    switch (dtype) {
      case DType::kFloat32: return MPI_FLOAT;
      case DType::kFloat64: return MPI_DOUBLE;
      case DType::kInt32: return MPI_INT32_T;
      case DType::kInt64: return MPI_INT64_T;
      case DType::kUint8: return MPI_UINT8_T;
      case DType::kBFloat16:
        break;  // sums are wider
    }
    ThrowUnknownValue("all-reduce of elements", static_cast<int>(dtype));
  }

  // Under the port's mutex: the type of one message of moments.
  MPI_Datatype TypeOf(size_t doubles) {
    const auto [entry, added] = types_.try_emplace(doubles, MPI_DATATYPE_NULL);
    if (added) {
      CheckMpi(MPI_Type_contiguous(static_cast<int>(doubles), MPI_DOUBLE, &entry->second),
               "MPI_Type_contiguous");
      CheckMpi(MPI_Type_commit(&entry->second), "MPI_Type_commit");
    }
    return entry->second;
  }

  const std::shared_ptr<MpiPort> port_;
  std::vector<MPI_Comm> comms_;
  MPI_Op merge_ = MPI_OP_NULL;
  std::map<size_t, MPI_Datatype> types_;
  std::vector<std::shared_ptr<MpiRequest>> running_;
};

}  // namespace

std::unique_ptr<NativeCollectives> MakeMpiNative(std::shared_ptr<MpiPort> port,
                                                 const std::vector<std::vector<int>>& rank_sets) {
  return std::make_unique<MpiNative>(std::move(port), rank_sets);
}

}  // namespace syncbn::comm
