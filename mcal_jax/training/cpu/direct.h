// Convolutions as they are written down: of stride 2, and what is too narrow for those of winograd.h.
#pragma once

#include "common.h"

namespace mcal {

// Columns of an image that a convolution of stride 1 may have here; its gradient by the kernel may have any.
constexpr int kNarrow = 2;

// y = sum over the input channels of x * kernel + bias, at least 0 with `relu`.
void direct_conv(const Parallel& parallel, int64_t stride, const Kernel& kernel, bool relu, const float* from,
                 const Planes& x, const float* bias, float* to, const Planes& y);

// The gradient by x, at `to`, of the convolution of stride 2 with a kernel [3, 3, in, out].
void direct_spread(const Parallel& parallel, const float* gradient, const Planes& y, const float* kernel, float* to,
                   const Planes& x);

// The gradient by the kernel, [3, 3, in, out].
void direct_kernel_gradient(const Parallel& parallel, int64_t stride, const float* from, const Planes& x,
                            const float* gradient, const Planes& y, float* of_kernel);

}  // namespace mcal
