package raftscript

import (
	"strings"
	"testing"
)

// A member's vote outlives a restart: it answers a second candidate of the term with no.
const votes = `add-nodes 3 voters=(1,2,3) index=2
----

campaign 1
----

process-ready 1
----

deliver-msgs 2
----

process-ready 2
----

restart 2
----

raft-log 2
----

set-randomized-election-timeout 3 timeout=3
----

tick-election 3
----

process-ready 3
----

deliver-msgs 2
----

process-ready 2
----
`

func TestOwnCommandsWorkOnGosMembers(t *testing.T) {
	outputs := Run(votes)
	if len(outputs) != 12 {
		t.Fatalf("%d outputs: %q", len(outputs), outputs)
	}
	if outputs[5] != "ok" {
		t.Errorf("the restart printed %q", outputs[5])
	}
	if last := outputs[11]; !strings.Contains(last, "2->3 MsgVoteResp Term:1 Log:0/0 Rejected") {
		t.Errorf("no refusal in %q", last)
	}
}

func TestAPanicEndsTheScriptAndNothingElse(t *testing.T) {
	outputs := Run("add-nodes 1 voters=(1) index=2\n----\n\ncompact 1 77\n----\n\nraft-log 1\n----\n")
	if len(outputs) != 2 || !strings.HasPrefix(outputs[1], Panicked) {
		t.Errorf("outputs are %q", outputs)
	}
}
