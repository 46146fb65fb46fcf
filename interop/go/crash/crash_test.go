package crash

import (
	"strings"
	"testing"
	"time"
)

func acknowledged() *writer {
	w := newWriter(1, 1)
	w.settle(write{keys: []int{0}, value: 5, revision: 50})
	w.settle(write{keys: []int{2, 3}, value: 6, revision: 60})
	return w
}

func TestWhatWasAcknowledgedIsAccepted(t *testing.T) {
	w := acknowledged()
	if found := w.compare(w.keys); len(found) != 0 {
		t.Error(found)
	}
}

func TestLossesAreFound(t *testing.T) {
	for _, test := range []struct {
		name     string
		underWay *write
		change   func(*[keysOfWriter]state)
		want     string
	}{
		{"a key is gone", nil, func(now *[keysOfWriter]state) { now[0] = state{} }, "key 0 holds 0"},
		{"an older value", nil, func(now *[keysOfWriter]state) { now[0] = state{4, 40} }, "key 0 holds 4"},
		{"another revision", nil, func(now *[keysOfWriter]state) { now[0].revision = 51 }, "of revision 51"},
		{"a write that was never sent", nil, func(now *[keysOfWriter]state) { now[7] = state{9, 90} }, "key 7 holds 9"},
		{"half of a transaction", &write{keys: []int{2, 3}, value: 7}, func(now *[keysOfWriter]state) { now[2] = state{7, 70} }, "by half"},
	} {
		w := acknowledged()
		w.underWay = test.underWay
		now := w.keys
		test.change(&now)
		found := strings.Join(w.compare(now), "\n")
		if !strings.Contains(found, test.want) {
			t.Errorf("%s: found %q, want %q", test.name, found, test.want)
		}
	}
}

func TestWhatWasUnderWayMayBeThereOrNot(t *testing.T) {
	for _, underWay := range []write{{keys: []int{2, 3}, value: 7}, {keys: []int{0}}, {keys: []int{1}}} {
		w := acknowledged()
		w.underWay = &underWay
		if found := w.compare(w.keys); len(found) != 0 {
			t.Errorf("not done: %v", found)
		}
		now := w.keys
		for _, index := range underWay.keys {
			now[index] = state{underWay.value, 70}
			if underWay.value == 0 {
				now[index] = state{}
			}
		}
		if found := w.compare(now); len(found) != 0 {
			t.Errorf("done: %v", found)
		}
	}
}

func TestQuantiles(t *testing.T) {
	p50, p99, highest := quantiles([]time.Duration{3 * time.Millisecond, time.Millisecond, 2 * time.Millisecond})
	if p50 != 2 || p99 != 2 || highest != 3 {
		t.Errorf("%d, %d, %d", p50, p99, highest)
	}
}
