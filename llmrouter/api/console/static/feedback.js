// Feedback on a decision, given where its story is told.

import {post} from "./api.js";
import {h, replace} from "./dom.js";
import {toast} from "./toast.js";
import {failure, segments, select} from "./widgets.js";

/** A form for the decision `one`; `done` is called once the service has it. */
export function feedbackForm(one, done) {
  const given = {score: 1, preferred: ""};
  const said = h("div");
  const comment = h("input", {type: "text", maxlength: 2000, placeholder: "optional"});
  const names = [one.target, ...(one.fallbacks ?? [])];
  return h("form", {class: "feedback", "aria-label": "Give feedback", on: {submit: async event => {
    event.preventDefault();
    const body = {decision_id: one.decision_id, score: given.score};
    if (given.preferred) body.preferred = given.preferred;
    if (comment.value.trim()) body.comment = comment.value.trim();
    try {
      await post("feedback", body);
      toast("Thank you: the feedback is kept.");
      done();
    } catch (error) {
      replace(said, failure(error));
    }
  }}},
    segments("Score", [["1", "Good"], ["0", "So-so"], ["-1", "Bad"]], "1", value => { given.score = Number(value); }),
    select("A better target", names, "", value => { given.preferred = value; }, "none"),
    h("label", {class: "field"}, "Comment", comment),
    h("button", {class: "first"}, "Give feedback"), said);
}
