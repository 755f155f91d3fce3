# What the CUDA back end is made of, for those who build it: with nvcc here, and as C++ on the emulated device in
# tests/emulation.
set(SYNCBN_CUDA_KERNELS
  activation.cu bias.cu elementwise.cu filters.cu images.cu layout.cu loss.cu merge.cu moments.cu normalize.cu pooling.cu
  random.cu recurrent.cu statistics.cu step.cu update.cu weight_norm.cu whitening_backward.cu whitening_newton.cu
  whitening_rows.cu)
list(TRANSFORM SYNCBN_CUDA_KERNELS PREPEND ${CMAKE_CURRENT_LIST_DIR}/kernels/)
set(SYNCBN_CUDA_SOURCES
  convolution_limits.cc cuda_backend.cc cuda_check.cc cuda_device.cc cuda_elementwise.cc cuda_executor.cc cuda_images.cc cuda_merge_stream.cc
  cuda_normalization.cc cuda_pooling.cc cuda_products.cc cuda_recurrent.cc cuda_statistics.cc cuda_stream.cc
  cuda_training.cc cuda_weight_norm.cc cuda_whitening.cc cudnn_libraries.cc device_memory.cc gpu_report.cc pinned_memory.cc stream_handle.cc)
list(TRANSFORM SYNCBN_CUDA_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
