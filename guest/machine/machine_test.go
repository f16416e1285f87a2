package machine

import "testing"

func TestHostsNameTheHostOnce(t *testing.T) {
	first := string(withHostname(nil, "sbx1"))
	want := "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 sbx1 # this sandbox\n"
	if first != want {
		t.Errorf("from nothing:\n%s", first)
	}
	second := string(withHostname([]byte(first+"10.0.0.1 mine\n"), "sbx2"))
	want = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n10.0.0.1 mine\n127.0.1.1 sbx2 # this sandbox\n"
	if second != want {
		t.Errorf("renamed:\n%s", second)
	}
}
