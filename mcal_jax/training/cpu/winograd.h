// Convolutions of stride 1 in half the products.
#pragma once

#include "common.h"

namespace mcal {

// y = sum over the input channels of x * kernel + bias, at least 0 with `relu`.
void winograd_conv(const Parallel& parallel, const Kernel& kernel, bool relu, const float* from, const Planes& x,
                   const float* bias, float* to, const Planes& y);

// The gradient by the kernel, [3, 3, in, out], with `in` a multiple of 4.
void winograd_kernel_gradient(const Parallel& parallel, const float* from, const Planes& x, const float* gradient,
                              const Planes& y, float* of_kernel);

}  // namespace mcal
