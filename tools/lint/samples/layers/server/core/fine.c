/* SPDX-License-Identifier: Apache-2.0 */
#include <uv.h>

#include "raft/replica.h"
#include "server/core/core_impl.h"
#include "storage/view.h"
