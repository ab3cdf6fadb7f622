/* SPDX-License-Identifier: Apache-2.0 */
#include "server/admin/admin.h"
#include "server/core/core_impl.h"
#include "storage/apply/apply.h"
#include "storage/view.h"
