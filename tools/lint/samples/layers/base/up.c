/* SPDX-License-Identifier: Apache-2.0 */
#include "base/up.h"

#include "storage/view.h"
