// SPDX-License-Identifier: Apache-2.0

// Package modern uses a recent Go client of Consul's against three nodes of muster: go_modern.py starts them and names them in MUSTER_NODES (host:port, with
// commas), the management token in MUSTER_TOKEN.
package modern

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
)

const limit = 20 * time.Second

func node(t *testing.T, i int, token string) *api.Client {
	t.Helper()
	nodes := strings.Split(os.Getenv("MUSTER_NODES"), ",")
	if len(nodes) < 3 {
		t.Skip("MUSTER_NODES names no three nodes")
	}
	if token == "" {
		token = os.Getenv("MUSTER_TOKEN")
	}
	c, err := api.NewClient(&api.Config{Address: nodes[i], Token: token})
	must(t, err)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, ok bool, format string, args ...any) {
	t.Helper()
	if !ok {
		t.Fatalf(format, args...)
	}
}

// A node other than the one that made a token may not have it at once.
func until(t *testing.T, c *api.Client) *api.Client {
	t.Helper()
	var err error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, _, err = c.ACL().TokenReadSelf(nil); err == nil {
			return c
		}
	}
	t.Fatal(err)
	return nil
}

func TestServices(t *testing.T) {
	a, b, c := node(t, 0, ""), node(t, 1, ""), node(t, 2, "")
	must(t, a.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: "web-1", Name: "web", Port: 8080, Tags: []string{"v1"}, Meta: map[string]string{"k": "v"}, Address: "10.0.0.7",
		Checks: api.AgentServiceChecks{{CheckID: "web-ttl", TTL: "60s"}, {CheckID: "web-tcp", TCP: "127.0.0.1:1", Interval: "10s", Status: "passing"}},
	}))
	must(t, b.Agent().UpdateTTL("web-ttl", "fine", api.HealthPassing))
	entries, meta, err := c.Health().Service("web", "v1", false, nil)
	must(t, err)
	want(t, len(entries) == 1 && entries[0].Service.Port == 8080 && entries[0].Service.Meta["k"] == "v" && len(entries[0].Checks) == 3, "health: %+v", entries)
	want(t, meta.KnownLeader && meta.LastIndex > 0, "meta: %+v", meta)

	done := make(chan error, 1)
	go func() {
		for index := meta.LastIndex; ; {
			got, m, err := c.Health().Service("web", "", false, &api.QueryOptions{WaitIndex: index, WaitTime: limit})
			if err != nil {
				done <- err
				return
			}
			for _, check := range got[0].Checks {
				if check.CheckID == "web-ttl" && check.Status == api.HealthCritical && check.Output == "gone" {
					done <- nil
					return
				}
			}
			index = m.LastIndex
		}
	}()
	must(t, a.Agent().UpdateTTL("web-ttl", "gone", api.HealthCritical))
	select {
	case err := <-done:
		must(t, err)
	case <-time.After(limit):
		t.Fatal("the blocking query was not woken")
	}

	passing, _, err := c.Health().Service("web", "", true, nil)
	must(t, err)
	want(t, len(passing) == 0, "passing: %+v", passing)
	services, _, err := b.Catalog().Services(&api.QueryOptions{Filter: `ServiceName == "web"`})
	must(t, err)
	want(t, len(services) == 1 && len(services["web"]) == 1, "services: %v", services)
	found, _, err := b.Catalog().Service("web", "", &api.QueryOptions{AllowStale: true, Filter: `ServiceMeta.k == "v"`})
	must(t, err)
	want(t, len(found) == 1 && found[0].ServiceAddress == "10.0.0.7", "catalog: %+v", found)
	local, _, err := b.Agent().Service("web-1", nil)
	must(t, err)
	want(t, local.Datacenter == "dc1" && local.ContentHash != "", "agent: %+v", local)
	status, _, err := b.Agent().AgentHealthServiceByID("web-1")
	must(t, err)
	want(t, status == api.HealthCritical, "status: %s", status)
	must(t, b.Agent().EnableServiceMaintenance("web-1", "a reason"))
	must(t, c.Agent().DisableServiceMaintenance("web-1"))
	_, err = a.Catalog().Register(&api.CatalogRegistration{Node: "outside", Address: "10.0.0.9", Service: &api.AgentService{Service: "web", ID: "web-2", Port: 1}, Checks: api.HealthChecks{{Node: "outside", CheckID: "o", Name: "o", Status: api.HealthPassing, ServiceID: "web-2"}}}, nil)
	must(t, err)
	passing, _, err = c.Health().Service("web", "", true, &api.QueryOptions{Near: "_agent"})
	must(t, err)
	want(t, len(passing) == 1 && passing[0].Node.Node == "outside", "passing: %+v", passing)
	_, err = a.Catalog().Deregister(&api.CatalogDeregistration{Node: "outside"}, nil)
	must(t, err)
	must(t, c.Agent().ServiceDeregister("web-1"))
	err = c.Agent().UpdateTTL("web-ttl", "", api.HealthPassing)
	want(t, err != nil && strings.Contains(err.Error(), "Unknown check"), "a check that is gone: %v", err)
}

func TestKeys(t *testing.T) {
	a, b := node(t, 0, "").KV(), node(t, 1, "").KV()
	_, err := a.Put(&api.KVPair{Key: "app/x", Value: []byte("1"), Flags: 42}, nil)
	must(t, err)
	pair, _, err := b.Get("app/x", nil)
	must(t, err)
	want(t, string(pair.Value) == "1" && pair.Flags == 42, "%+v", pair)
	pair.Value = []byte("2")
	ok, _, err := b.CAS(pair, nil)
	must(t, err)
	want(t, ok, "the cas failed")
	ok, _, err = a.CAS(pair, nil)
	must(t, err)
	want(t, !ok, "an old cas went through")
	ok, answer, _, err := node(t, 2, "").Txn().Txn(api.TxnOps{
		{KV: &api.KVTxnOp{Verb: api.KVSet, Key: "app/y", Value: []byte("3")}},
		{KV: &api.KVTxnOp{Verb: api.KVGetOrEmpty, Key: "app/none"}},
		{KV: &api.KVTxnOp{Verb: api.KVGetTree, Key: "app/"}},
	}, nil)
	must(t, err)
	want(t, ok && len(answer.Results) == 4, "%+v", answer)
	ok, answer, _, err = node(t, 2, "").Txn().Txn(api.TxnOps{{KV: &api.KVTxnOp{Verb: api.KVCheckNotExists, Key: "app/y"}}}, nil)
	must(t, err)
	want(t, !ok && len(answer.Errors) == 1 && strings.Contains(answer.Errors[0].What, "exists"), "%+v", answer)
	keys, _, err := a.Keys("app/", "/", &api.QueryOptions{RequireConsistent: true})
	must(t, err)
	want(t, len(keys) == 2, "%v", keys)
	_, err = a.DeleteTree("app/", nil)
	must(t, err)
	pair, _, err = b.Get("app/x", nil)
	must(t, err)
	want(t, pair == nil, "%+v", pair)
}

func TestLocks(t *testing.T) {
	a, b := node(t, 0, ""), node(t, 1, "")
	first, err := a.LockOpts(&api.LockOptions{Key: "locks/l", SessionTTL: "10s", LockDelay: time.Millisecond})
	must(t, err)
	lost, err := first.Lock(nil)
	must(t, err)
	second, err := b.LockOpts(&api.LockOptions{Key: "locks/l", SessionTTL: "10s", LockTryOnce: true, LockWaitTime: 100 * time.Millisecond})
	must(t, err)
	held, err := second.Lock(nil)
	must(t, err)
	want(t, held == nil, "two hold one lock")
	sessions, _, err := b.Session().List(nil)
	must(t, err)
	for _, s := range sessions {
		_, err = b.Session().Destroy(s.ID, nil)
		must(t, err)
	}
	select {
	case <-lost:
	case <-time.After(limit):
		t.Fatal("the holder was not told that the lock is lost")
	}
	_ = first.Unlock()
	third, err := b.LockOpts(&api.LockOptions{Key: "locks/l", SessionTTL: "10s"})
	must(t, err)
	_, err = third.Lock(nil)
	must(t, err)
	must(t, third.Unlock())
	must(t, third.Destroy())

	var holders []*api.Semaphore
	for i := 0; i < 2; i++ {
		s, err := node(t, i, "").SemaphorePrefix("semaphores/s", 2)
		must(t, err)
		_, err = s.Acquire(nil)
		must(t, err)
		holders = append(holders, s)
	}
	full, err := a.SemaphoreOpts(&api.SemaphoreOptions{Prefix: "semaphores/s", Limit: 2, SemaphoreTryOnce: true, SemaphoreWaitTime: 100 * time.Millisecond})
	must(t, err)
	got, err := full.Acquire(nil)
	must(t, err)
	want(t, got == nil, "three hold a semaphore of two")
	for _, s := range holders {
		must(t, s.Release())
	}

	id, _, err := a.Session().CreateNoChecks(&api.SessionEntry{Name: "renewed", TTL: "10s", Behavior: api.SessionBehaviorDelete}, nil)
	must(t, err)
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- b.Session().RenewPeriodic("10s", id, nil, stop) }()
	entry, _, err := b.Session().Renew(id, nil)
	must(t, err)
	want(t, entry != nil && entry.ID == id, "%+v", entry)
	close(stop)
	must(t, <-done)
	entry, _, err = a.Session().Info(id, nil)
	must(t, err)
	want(t, entry == nil, "the end of the renewal does not end the session")
}

func TestACL(t *testing.T) {
	a := node(t, 0, "")
	policy, _, err := a.ACL().PolicyCreate(&api.ACLPolicy{Name: "modern", Rules: `key_prefix "open/" { policy = "write" } service_prefix "" { policy = "read" }`}, nil)
	must(t, err)
	role, _, err := a.ACL().RoleCreate(&api.ACLRole{Name: "modern", Policies: []*api.ACLLink{{ID: policy.ID}}, NodeIdentities: []*api.ACLNodeIdentity{{NodeName: "n", Datacenter: "dc1"}}}, nil)
	must(t, err)
	token, _, err := a.ACL().TokenCreate(&api.ACLToken{Description: "modern", Roles: []*api.ACLLink{{Name: role.Name}}, ServiceIdentities: []*api.ACLServiceIdentity{{ServiceName: "api"}}, ExpirationTTL: time.Hour}, nil)
	must(t, err)
	limited := until(t, node(t, 1, token.SecretID))
	self, _, err := limited.ACL().TokenReadSelf(nil)
	must(t, err)
	want(t, self.AccessorID == token.AccessorID && len(self.Roles) == 1, "%+v", self)
	_, err = limited.KV().Put(&api.KVPair{Key: "open/x"}, nil)
	must(t, err)
	_, err = limited.KV().Put(&api.KVPair{Key: "shut/x"}, nil)
	want(t, err != nil && strings.Contains(err.Error(), "403") && strings.Contains(err.Error(), "Permission denied"), "%v", err)
	bare, _, err := a.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{Name: "modern"}}}, nil)
	must(t, err)
	nodes, meta, err := until(t, node(t, 2, bare.SecretID)).Catalog().Nodes(nil)
	must(t, err)
	want(t, len(nodes) == 0 && meta.ResultsFilteredByACLs, "%v %+v", nodes, meta)
	want(t, meta.DefaultACLPolicy == "deny", "%+v", meta)
	_, _, err = limited.ACL().TokenList(nil)
	want(t, err != nil, "who may not read tokens read them")
	token.Description = "changed"
	_, _, err = a.ACL().TokenUpdate(token, nil)
	must(t, err)
	list, _, err := a.ACL().TokenListFiltered(api.ACLTokenFilterOptions{Role: role.ID}, nil)
	must(t, err)
	want(t, len(list) == 1 && list[0].Description == "changed", "%+v", list)
	copied, _, err := a.ACL().TokenClone(token.AccessorID, "a clone", nil)
	must(t, err)
	want(t, copied.SecretID != "" && copied.SecretID != token.SecretID, "%+v", copied)
	for _, id := range []string{token.AccessorID, copied.AccessorID, bare.AccessorID} {
		_, err = a.ACL().TokenDelete(id, nil)
		must(t, err)
	}
	for end := time.Now().Add(limit); err == nil && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		_, _, err = limited.ACL().TokenReadSelf(nil)
	}
	want(t, err != nil && strings.Contains(err.Error(), "ACL not found"), "%v", err)
	missing, _, err := a.ACL().PolicyReadByName("none", nil)
	want(t, err == nil && missing == nil, "%v %v", missing, err)
	_, err = a.ACL().RoleDelete(role.ID, nil)
	must(t, err)
	_, err = a.ACL().PolicyDelete(policy.ID, nil)
	must(t, err)
}

func TestSnapshots(t *testing.T) {
	a := node(t, 0, "")
	_, err := a.KV().Put(&api.KVPair{Key: "snap/x", Value: []byte("before")}, nil)
	must(t, err)
	stream, _, err := a.Snapshot().Save(nil)
	must(t, err)
	saved, err := io.ReadAll(stream)
	must(t, err)
	stream.Close()
	_, err = a.KV().Put(&api.KVPair{Key: "snap/x", Value: []byte("after")}, nil)
	must(t, err)
	must(t, node(t, 1, "").Snapshot().Restore(nil, bytes.NewReader(saved)))
	pair, _, err := node(t, 2, "").KV().Get("snap/x", nil)
	must(t, err)
	want(t, pair != nil && string(pair.Value) == "before", "%+v", pair)
}

func TestOthers(t *testing.T) {
	a, b := node(t, 0, ""), node(t, 1, "")
	id, _, err := a.Event().Fire(&api.UserEvent{Name: "deploy", Payload: []byte("7")}, nil)
	must(t, err)
	events, _, err := b.Event().List("deploy", nil)
	must(t, err)
	want(t, len(events) == 1 && events[0].ID == id && string(events[0].Payload) == "7", "%+v", events)

	stop := make(chan struct{})
	lines, err := a.Agent().Monitor("debug", stop, nil)
	must(t, err)
	go func() { _, _, _ = a.KV().Get("a", nil) }()
	select {
	case line := <-lines:
		want(t, line != "", "an empty line of the log")
	case <-time.After(limit):
		t.Fatal("the monitor tells nothing")
	}
	close(stop)

	self, err := a.Agent().Self()
	must(t, err)
	want(t, self["Config"]["Datacenter"] == "dc1", "%v", self["Config"])
	version, err := a.Agent().Version()
	must(t, err)
	want(t, version["HumanVersion"] != nil, "%v", version)
	members, err := a.Agent().Members(false)
	must(t, err)
	want(t, len(members) == 3, "%v", members)
	servers, err := a.Operator().RaftGetConfiguration(nil)
	must(t, err)
	want(t, len(servers.Servers) == 3, "%+v", servers)
	health, err := a.Operator().AutopilotServerHealth(nil)
	must(t, err)
	want(t, health.Healthy && len(health.Servers) == 3, "%+v", health)
	state, err := a.Operator().AutopilotState(nil)
	must(t, err)
	want(t, len(state.Voters) == 3 && state.Leader != "", "%+v", state)
	query, _, err := a.PreparedQuery().Create(&api.PreparedQueryDefinition{Name: "q", Service: api.ServiceQuery{Service: "none"}}, nil)
	must(t, err)
	result, _, err := b.PreparedQuery().Execute("q", nil)
	must(t, err)
	want(t, result.Service == "none" && len(result.Nodes) == 0, "%+v", result)
	_, err = b.PreparedQuery().Delete(query, nil)
	must(t, err)
	ok, _, err := a.ConfigEntries().Set(&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "web", Protocol: "http"}, nil)
	must(t, err)
	want(t, ok, "the config entry was not taken")
	entry, _, err := b.ConfigEntries().Get(api.ServiceDefaults, "web", nil)
	must(t, err)
	want(t, entry.(*api.ServiceConfigEntry).Protocol == "http", "%+v", entry)
	_, err = b.ConfigEntries().Delete(api.ServiceDefaults, "web", nil)
	must(t, err)
	coordinates, _, err := a.Coordinate().Nodes(nil)
	must(t, err)
	want(t, len(coordinates) >= 3, "%v", coordinates)
	_, _, err = a.KV().Get("a", &api.QueryOptions{Datacenter: "nope"})
	want(t, err != nil && strings.Contains(err.Error(), "No path to datacenter"), "%v", err)
}

// Each plan is run until it tells what was changed by another node.
func TestWatches(t *testing.T) {
	for _, w := range []struct {
		params map[string]any
		change func(c *api.Client) error
		is     func(v any) bool
	}{
		{map[string]any{"type": "key", "key": "w/k"}, func(c *api.Client) error {
			_, err := c.KV().Put(&api.KVPair{Key: "w/k", Value: []byte("v")}, nil)
			return err
		},
			func(v any) bool { p, ok := v.(*api.KVPair); return ok && p != nil && string(p.Value) == "v" }},
		{map[string]any{"type": "keyprefix", "prefix": "w/"}, func(c *api.Client) error { _, err := c.KV().Put(&api.KVPair{Key: "w/p"}, nil); return err },
			func(v any) bool { return strings.Contains(fmt.Sprint(keysOf(v)), "w/p") }},
		{map[string]any{"type": "services"}, func(c *api.Client) error {
			return c.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "watched"})
		},
			func(v any) bool { return v.(map[string][]string)["watched"] != nil }},
		{map[string]any{"type": "service", "service": "watched"}, func(c *api.Client) error {
			return c.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "watched", Port: 7})
		},
			func(v any) bool { e := v.([]*api.ServiceEntry); return len(e) == 1 && e[0].Service.Port == 7 }},
		{map[string]any{"type": "checks", "service": "watched"}, func(c *api.Client) error {
			return c.Agent().CheckRegister(&api.AgentCheckRegistration{Name: "wc", ServiceID: "watched", AgentServiceCheck: api.AgentServiceCheck{TTL: "60s"}})
		}, func(v any) bool { return len(v.([]*api.HealthCheck)) == 1 }},
		{map[string]any{"type": "nodes"}, func(c *api.Client) error {
			_, err := c.Catalog().Register(&api.CatalogRegistration{Node: "wn", Address: "10.0.0.1"}, nil)
			return err
		},
			func(v any) bool { return len(v.([]*api.Node)) >= 4 }},
		{map[string]any{"type": "event", "name": "we"}, func(c *api.Client) error { _, _, err := c.Event().Fire(&api.UserEvent{Name: "we"}, nil); return err },
			func(v any) bool { return len(v.([]*api.UserEvent)) == 1 }},
	} {
		name := w.params["type"].(string)
		plan, err := watch.Parse(w.params)
		must(t, err)
		told, first := make(chan struct{}, 1), make(chan struct{}, 1)
		plan.Handler = func(_ uint64, v any) {
			if w.is(v) {
				told <- struct{}{}
				plan.Stop()
				return
			}
			select {
			case first <- struct{}{}:
			default:
			}
		}
		ended := make(chan error, 1)
		go func() { ended <- plan.RunWithClientAndHclog(node(t, 2, ""), nil) }()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		select { // a plan of what is not there need not tell so
		case <-first:
		case <-ctx.Done():
		}
		cancel()
		must(t, w.change(node(t, 0, "")))
		select {
		case <-told:
		case <-time.After(limit):
			t.Fatalf("%s: the watch tells nothing", name)
		}
		must(t, <-ended)
	}
}

func keysOf(v any) (keys []string) {
	for _, p := range v.(api.KVPairs) {
		keys = append(keys, p.Key)
	}
	return keys
}
