/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of the endpoint table (consul.c), by file: each answers its call, now or later. */
#pragma once

struct consul_call;

void consul_ui_services(struct consul_call *k);
void consul_ui_nodes(struct consul_call *k);
void consul_ui_node(struct consul_call *k);
void consul_kv_get(struct consul_call *k);
void consul_kv_put(struct consul_call *k);
void consul_kv_delete(struct consul_call *k);
void consul_txn(struct consul_call *k);
void consul_status_leader(struct consul_call *k);
void consul_status_peers(struct consul_call *k);

void consul_agent_register(struct consul_call *k);
void consul_agent_deregister(struct consul_call *k);
void consul_agent_check_register(struct consul_call *k);
void consul_agent_check_deregister(struct consul_call *k);
void consul_agent_check_pass(struct consul_call *k);
void consul_agent_check_warn(struct consul_call *k);
void consul_agent_check_fail(struct consul_call *k);
void consul_agent_check_update(struct consul_call *k);
void consul_agent_maintenance(struct consul_call *k);
void consul_agent_service_maintenance(struct consul_call *k);
void consul_agent_services(struct consul_call *k);
void consul_agent_checks(struct consul_call *k);
void consul_agent_service(struct consul_call *k);
void consul_agent_health_name(struct consul_call *k);
void consul_agent_health_id(struct consul_call *k);

void consul_catalog_datacenters(struct consul_call *k);
void consul_catalog_nodes(struct consul_call *k);
void consul_catalog_services(struct consul_call *k);
void consul_catalog_service(struct consul_call *k);
void consul_catalog_node(struct consul_call *k);
void consul_catalog_node_services(struct consul_call *k);
void consul_catalog_register(struct consul_call *k);
void consul_catalog_deregister(struct consul_call *k);
void consul_health_service(struct consul_call *k);
void consul_health_checks(struct consul_call *k);
void consul_health_node(struct consul_call *k);
void consul_health_state(struct consul_call *k);

void consul_session_create(struct consul_call *k);
void consul_session_destroy(struct consul_call *k);
void consul_session_renew(struct consul_call *k);
void consul_session_info(struct consul_call *k);
void consul_session_node(struct consul_call *k);
void consul_session_list(struct consul_call *k);

void consul_acl_bootstrap(struct consul_call *k);
void consul_acl_token_create(struct consul_call *k);
void consul_acl_token_put(struct consul_call *k);
void consul_acl_token_delete(struct consul_call *k);
void consul_acl_token_get(struct consul_call *k);
void consul_acl_token_self(struct consul_call *k);
void consul_acl_tokens(struct consul_call *k);
void consul_acl_policy_create(struct consul_call *k);
void consul_acl_policy_put(struct consul_call *k);
void consul_acl_policy_delete(struct consul_call *k);
void consul_acl_policy_get(struct consul_call *k);
void consul_acl_policy_by_name(struct consul_call *k);
void consul_acl_policies(struct consul_call *k);
void consul_acl_role_create(struct consul_call *k);
void consul_acl_role_put(struct consul_call *k);
void consul_acl_role_delete(struct consul_call *k);
void consul_acl_role_get(struct consul_call *k);
void consul_acl_role_by_name(struct consul_call *k);
void consul_acl_roles(struct consul_call *k);
void consul_acl_replication(struct consul_call *k);
void consul_acl_nothing(struct consul_call *k);
void consul_acl_login(struct consul_call *k);
void consul_acl_authorize(struct consul_call *k);

void consul_agent_self(struct consul_call *k);
void consul_agent_members(struct consul_call *k);
void consul_agent_version(struct consul_call *k);
void consul_operator_raft(struct consul_call *k);
void consul_operator_autopilot(struct consul_call *k);
void consul_operator_autopilot_put(struct consul_call *k);
void consul_operator_health(struct consul_call *k);
void consul_operator_state(struct consul_call *k);
void consul_operator_peer_delete(struct consul_call *k);
void consul_operator_transfer(struct consul_call *k);
void consul_operator_keyring(struct consul_call *k);

void consul_coordinate_datacenters(struct consul_call *k);
void consul_coordinate_node(struct consul_call *k);
void consul_coordinate_nodes(struct consul_call *k);
void consul_coordinate_update(struct consul_call *k);

void consul_config_get(struct consul_call *k);
void consul_config_put(struct consul_call *k);
void consul_config_delete(struct consul_call *k);

void consul_query_create(struct consul_call *k);
void consul_query_delete(struct consul_call *k);
void consul_query_get(struct consul_call *k);
void consul_query_list(struct consul_call *k);
void consul_query_put(struct consul_call *k);

void consul_snapshot_get(struct consul_call *k);
void consul_snapshot_put(struct consul_call *k);

void consul_event_fire(struct consul_call *k);
void consul_event_list(struct consul_call *k);

void consul_agent_force_leave(struct consul_call *k);
void consul_agent_host(struct consul_call *k);
void consul_agent_join(struct consul_call *k);
void consul_agent_leave(struct consul_call *k);
void consul_agent_metrics(struct consul_call *k);
void consul_agent_monitor(struct consul_call *k);
void consul_agent_reload(struct consul_call *k);
void consul_agent_token(struct consul_call *k);
void consul_no_mesh(struct consul_call *k);
void consul_empty(struct consul_call *k);
