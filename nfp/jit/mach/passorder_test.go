package mach

import (
	"slices"
	"strings"
	"testing"
)

func TestCheckPassOrder(t *testing.T) {
	order := []Constraint{{"fold", "schedule", "constants need no instruction"}}
	for _, c := range []struct {
		passes []string
		want   string // part of the error; "" if there is none
	}{
		{[]string{"fold", "place", "schedule"}, ""},
		{[]string{"schedule", "fold"}, "pass fold must come before schedule: constants need no instruction"},
		{[]string{"fold", "schedule", "fold"}, "two passes are called fold"},
		{[]string{"fold"}, "pass order names fold and schedule, of which one is no pass"},
	} {
		err := CheckPassOrder(c.passes, order)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: got %v, want %q", c.passes, err, c.want)
		}
	}
}

func TestPassOrder(t *testing.T) {
	var names []string
	for _, p := range passes {
		names = append(names, p.name)
	}
	if err := CheckPassOrder(names, passOrder); err != nil {
		t.Error(err)
	}
	if slices.Reverse(names); CheckPassOrder(names, passOrder) == nil {
		t.Error("the reverse order breaks no constraint")
	}
}
