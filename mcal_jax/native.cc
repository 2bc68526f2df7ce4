// 3x3 convolutions of stride 1, "SAME", for CPUs, as XLA custom calls. Activations are float32 [channels, height,
// width, batch] with a batch of a multiple of 16; kernels [3, 3, in, out] with out a multiple of 4.
//
// The batch is innermost, so sixteen images fill two vectors and a kernel's weight is the same for all of them. Three
// rows of all channels of sixteen images are copied side by side first, with zeros around: they stay in the cache,
// where rows that lie a power of two apart would push each other out.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

constexpr int64_t kLanes = 16;  // images at once
constexpr int64_t kOut = 4;     // output channels at once
constexpr int64_t kParts = 8;   // sums of a gradient, fixed so that it does not depend on the number of threads

typedef float Vec __attribute__((vector_size(32), aligned(4)));

inline Vec load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }

// Keeps a value in a register, where GCC would rather load it anew for each product.
#if defined(__x86_64__)
#define KEEP(v) asm("" : "+x"(v))
#else
#define KEEP(v)
#endif

struct Shape {
  int64_t in, height, width, batch, out;
  bool fits() const { return batch % kLanes == 0 && out % kOut == 0; }
  int64_t groups() const { return batch / kLanes; }
  int64_t tasks() const { return height * groups(); }  // a row of sixteen images each
  int64_t line() const { return (width + 2) * kLanes; }
};

// do_one(0) ... do_one(count - 1), on XLA's own threads and this one. Nothing waits for a thread that has not begun.
template <typename F>
void parallel(ffi::ThreadPool pool, int64_t count, const F& do_one) {
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
  for (int64_t helper = 1; helper < std::min(pool.num_threads(), count); ++helper) pool.Schedule(decltype(work)(work));
  work();
  while (progress->done < count) std::this_thread::yield();
}

// Rows row - 1 to row + 1 of every channel, sixteen images from `group` on, zeros outside: [channel][3][width + 2][16].
void window(const float* x, const Shape& s, int64_t task, float* to) {
  const int64_t row = task / s.groups(), group = task % s.groups();
  for (int64_t c = 0; c < s.in; ++c)
    for (int64_t i = 0; i < 3; ++i, to += s.line()) {
      const int64_t r = row + i - 1;
      std::memset(to, 0, sizeof(float) * s.line());
      if (r < 0 || r >= s.height) continue;
      const float* from = x + (c * s.height + r) * s.width * s.batch + group * kLanes;
      for (int64_t j = 0; j < s.width; ++j)
        std::memcpy(to + (j + 1) * kLanes, from + j * s.batch, sizeof(float) * kLanes);
    }
}

// One row of four output channels of sixteen images; weights [in][9][4].
void row_of_four(const float* rows, const Shape& s, const float* weights, float* to) {
  for (int64_t j = 0; j < s.width; ++j, to += s.batch, rows += kLanes) {
    Vec sum[kOut][2] = {};
    const float *x = rows, *w = weights;
    for (int64_t c = 0; c < s.in; ++c, x += 3 * s.line(), w += 9 * kOut) {
#pragma GCC unroll 9
      for (int tap = 0; tap < 9; ++tap) {
        const float* at = x + (tap / 3) * s.line() + (tap % 3) * kLanes;
        Vec low = load(at), high = load(at + 8);
        KEEP(low);
        KEEP(high);
#pragma GCC unroll 4
        for (int o = 0; o < kOut; ++o) {
          sum[o][0] += w[tap * kOut + o] * low;
          sum[o][1] += w[tap * kOut + o] * high;
        }
      }
    }
    for (int64_t o = 0; o < kOut; ++o) {
      store(to + o * s.height * s.width * s.batch, sum[o][0]);
      store(to + o * s.height * s.width * s.batch + 8, sum[o][1]);
    }
  }
}

ffi::Error Conv(ffi::ThreadPool pool, ffi::Buffer<ffi::F32> x, ffi::Buffer<ffi::F32> kernel,
                ffi::ResultBuffer<ffi::F32> y) {
  const auto of_x = x.dimensions(), of_kernel = kernel.dimensions();
  const Shape s{of_x[0], of_x[1], of_x[2], of_x[3], of_kernel[3]};
  if (!s.fits()) return ffi::Error::InvalidArgument("mcal_jax_conv: batch or output channels do not fit");
  const float *from = x.typed_data(), *k = kernel.typed_data();
  float* to = y->typed_data();
  std::vector<float> weights(9 * s.in * s.out);  // [out / 4][in][9][4]
  for (int64_t tap = 0; tap < 9; ++tap)
    for (int64_t c = 0; c < s.in; ++c)
      for (int64_t o = 0; o < s.out; ++o)
        weights[((o / kOut * s.in + c) * 9 + tap) * kOut + o % kOut] = k[(tap * s.in + c) * s.out + o];
  parallel(pool, s.tasks(), [&](int64_t task) {
    const int64_t row = task / s.groups(), group = task % s.groups();
    std::vector<float> rows(3 * s.in * s.line());
    window(from, s, task, rows.data());
    for (int64_t o = 0; o < s.out; o += kOut)
      row_of_four(rows.data(), s, weights.data() + 9 * s.in * o,
                  to + (o * s.height + row) * s.width * s.batch + group * kLanes);
  });
  return ffi::Error::Success();
}

// Adds to sum [in][9][out] what one row of sixteen images gives; gradient [out][width][16].
void add_row(const float* rows, const Shape& s, const float* gradient, float* sum) {
  for (int64_t c = 0; c < s.in; ++c)
    for (int64_t i = 0; i < 3; ++i, rows += s.line())
      for (int64_t o = 0; o < s.out; o += kOut) {
        const float* g = gradient + o * s.width * kLanes;
        Vec total[kOut][3] = {};
        for (int64_t j = 0; j < s.width * kLanes; j += 8) {
          Vec left = load(rows + j), middle = load(rows + j + kLanes), right = load(rows + j + 2 * kLanes);
          KEEP(left);
          KEEP(middle);
          KEEP(right);
#pragma GCC unroll 4
          for (int e = 0; e < kOut; ++e) {
            Vec by = load(g + e * s.width * kLanes + j);
            KEEP(by);
            total[e][0] += by * left;
            total[e][1] += by * middle;
            total[e][2] += by * right;
          }
        }
        for (int64_t l = 0; l < 3; ++l)
          for (int64_t e = 0; e < kOut; ++e) {
            const Vec v = total[e][l];
            sum[(c * 9 + i * 3 + l) * s.out + o + e] +=
                ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7]));
          }
      }
}

ffi::Error KernelGradient(ffi::ThreadPool pool, ffi::Buffer<ffi::F32> x, ffi::Buffer<ffi::F32> gradient,
                          ffi::ResultBuffer<ffi::F32> of_kernel) {
  const auto of_x = x.dimensions(), of_gradient = gradient.dimensions();
  const Shape s{of_x[0], of_x[1], of_x[2], of_x[3], of_gradient[0]};
  if (!s.fits()) return ffi::Error::InvalidArgument("mcal_jax_kernel_gradient: batch or output channels do not fit");
  const float *from = x.typed_data(), *g = gradient.typed_data();
  float* to = of_kernel->typed_data();
  const int64_t size = 9 * s.in * s.out;
  std::vector<float> sums(kParts * size);
  parallel(pool, kParts, [&](int64_t part) {
    std::vector<float> rows(3 * s.in * s.line()), own(s.out * s.width * kLanes);
    for (int64_t task = s.tasks() * part / kParts; task < s.tasks() * (part + 1) / kParts; ++task) {
      const int64_t row = task / s.groups(), group = task % s.groups();
      window(from, s, task, rows.data());
      for (int64_t o = 0; o < s.out; ++o)
        for (int64_t j = 0; j < s.width; ++j)
          std::memcpy(own.data() + (o * s.width + j) * kLanes,
                      g + ((o * s.height + row) * s.width + j) * s.batch + group * kLanes, sizeof(float) * kLanes);
      add_row(rows.data(), s, own.data(), sums.data() + part * size);
    }
  });
  for (int64_t c = 0; c < s.in; ++c)
    for (int64_t tap = 0; tap < 9; ++tap)
      for (int64_t o = 0; o < s.out; ++o) {
        float total = 0;
        for (int64_t part = 0; part < kParts; ++part) total += sums[part * size + (c * 9 + tap) * s.out + o];
        to[(tap * s.in + c) * s.out + o] = total;
      }
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(mcal_jax_conv, Conv,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(mcal_jax_kernel_gradient, KernelGradient,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>());
