// The convolutions and the sums over each channel as XLA custom calls.

#include <atomic>
#include <memory>
#include <thread>

#include "common.h"
#include "direct.h"
#include "winograd.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace mcal {
namespace {

constexpr int64_t kLooks = 20000;  // some tens of microseconds, about what a task takes

Planes planes(ffi::Span<const int64_t> d) { return {d[0], d[1], d[2], d[3]}; }

// Whether y is as large as a convolution of x with this stride.
bool fits(const Planes& x, const Planes& y, int64_t stride) {
  return x.batch % kBatch == 0 && y.batch == x.batch && (stride == 1 || stride == 2) &&
         y.height == over(x.height, stride) && y.width == over(x.width, stride);
}

// On XLA's own threads and this one. Nothing waits for a thread that has not begun.
Parallel on(ffi::ThreadPool pool) {
  return [pool](int64_t count, const std::function<void(int64_t)>& do_one) mutable {
    struct Progress {
      std::atomic<int64_t> next{0}, done{0};
    };
    auto progress = std::make_shared<Progress>();
    auto work = [progress, count, &do_one] {
      for (int64_t i; (i = progress->next++) < count;) {
        do_one(i);
        progress->done++;
      }
    };
    for (int64_t helper = 1; helper < std::min(pool.num_threads(), count); ++helper)
      pool.Schedule(decltype(work)(work));
    work();
    // On a busy machine a core that is given away is away for milliseconds.
    for (int64_t looked = 0; progress->done < count; ++looked)
      if (looked > kLooks) std::this_thread::yield();
  };
}

ffi::Error Conv(ffi::ThreadPool pool, int64_t stride, bool turn, bool relu, ffi::Buffer<ffi::F32> x,
                ffi::Buffer<ffi::F32> kernel, ffi::Buffer<ffi::F32> bias, ffi::ResultBuffer<ffi::F32> y) {
  const Planes of_x = planes(x.dimensions()), of_y = planes(y->dimensions());
  if (!fits(of_x, of_y, stride) || of_y.channels % kOut || (turn && stride > 1))
    return ffi::Error::InvalidArgument("mcal_jax_conv: batch, size or output channels do not fit");
  const Kernel weights = (turn ? turned : plain)(kernel.typed_data(), of_x.channels, of_y.channels);
  if (stride == 1 && of_x.width > kNarrow)
    winograd_conv(on(pool), weights, relu, x.typed_data(), of_x, bias.typed_data(), y->typed_data(), of_y);
  else
    direct_conv(on(pool), stride, weights, relu, x.typed_data(), of_x, bias.typed_data(), y->typed_data(), of_y);
  return ffi::Error::Success();
}

// The gradient by x, [in, ...], of the convolution of stride 2 with a kernel [3, 3, in, out].
ffi::Error Spread(ffi::ThreadPool pool, ffi::Buffer<ffi::F32> gradient, ffi::Buffer<ffi::F32> kernel,
                  ffi::ResultBuffer<ffi::F32> x) {
  const Planes of_y = planes(gradient.dimensions()), of_x = planes(x->dimensions());
  if (!fits(of_x, of_y, 2) || of_x.channels % kOut)
    return ffi::Error::InvalidArgument("mcal_jax_spread: batch, size or input channels do not fit");
  direct_spread(on(pool), gradient.typed_data(), of_y, kernel.typed_data(), x->typed_data(), of_x);
  return ffi::Error::Success();
}

ffi::Error KernelGradient(ffi::ThreadPool pool, int64_t stride, ffi::Buffer<ffi::F32> x,
                          ffi::Buffer<ffi::F32> gradient, ffi::ResultBuffer<ffi::F32> of_kernel) {
  const Planes of_x = planes(x.dimensions()), of_y = planes(gradient.dimensions());
  if (!fits(of_x, of_y, stride) || of_y.channels % kOut)
    return ffi::Error::InvalidArgument("mcal_jax_kernel_gradient: batch, size or output channels do not fit");
  const float *from = x.typed_data(), *by = gradient.typed_data();
  if (stride == 1 && of_x.width > kNarrow && of_x.channels % kOut == 0)
    winograd_kernel_gradient(on(pool), from, of_x, by, of_y, of_kernel->typed_data());
  else
    direct_kernel_gradient(on(pool), stride, from, of_x, by, of_y, of_kernel->typed_data());
  return ffi::Error::Success();
}

// Sums of a and of a * b over all but the first axis: [2, channels].
ffi::Error Sums(ffi::ThreadPool pool, ffi::Buffer<ffi::F32> a, ffi::Buffer<ffi::F32> b,
                ffi::ResultBuffer<ffi::F32> sums) {
  const int64_t channels = a.dimensions()[0], plane = a.element_count() / channels;
  if (plane % kBatch) return ffi::Error::InvalidArgument("mcal_jax_sums: the batch does not fit");
  const float *of_a = a.typed_data(), *of_b = b.typed_data();
  float* const to = sums->typed_data();
  on(pool)(channels, [&](int64_t c) {
    const float *x = of_a + c * plane, *y = of_b + c * plane;
    constexpr int kAtOnce = 4;  // sums of a few thousand numbers each: float32 is enough
    Vec plain[kAtOnce] = {}, by[kAtOnce] = {};
    int64_t i = 0;
    for (; i + kAtOnce * kLanes <= plane; i += kAtOnce * kLanes)
#pragma GCC unroll 4
      for (int u = 0; u < kAtOnce; ++u) {
        const Vec v = load(x + i + u * kLanes);
        plain[u] += v;
        by[u] += v * load(y + i + u * kLanes);
      }
    for (; i < plane; i += kLanes) {
      const Vec v = load(x + i);
      plain[0] += v;
      by[0] += v * load(y + i);
    }
    to[c] = total((plain[0] + plain[1]) + (plain[2] + plain[3]));
    to[channels + c] = total((by[0] + by[1]) + (by[2] + by[3]));
  });
  return ffi::Error::Success();
}

}  // namespace
}  // namespace mcal

XLA_FFI_DEFINE_HANDLER_SYMBOL(mcal_jax_conv, mcal::Conv,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Attr<int64_t>("stride")
                                  .Attr<bool>("turned")
                                  .Attr<bool>("relu")
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(mcal_jax_spread, mcal::Spread,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(mcal_jax_kernel_gradient, mcal::KernelGradient,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Attr<int64_t>("stride")
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(mcal_jax_sums, mcal::Sums,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>());
