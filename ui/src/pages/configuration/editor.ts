/**
 * The editor of the overrides. It lives in a shadow root, as its styles are made by script, which the page's policy
 * takes from there alone.
 */
import { defaultKeymap, history, historyKeymap, indentWithTab, isolateHistory } from "@codemirror/commands";
import { HighlightStyle, StreamLanguage, bracketMatching, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, lintKeymap, linter, type Diagnostic } from "@codemirror/lint";
import { Compartment, EditorState, type Text } from "@codemirror/state";
import { EditorView, drawSelection, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import type { post } from "../../lib/api";

export type Finding = Awaited<ReturnType<typeof post<"/cluster/multipath/overrides/lint">>>[number];

interface Wanted {
  host: HTMLElement;
  text: string;
  label: string;
  writable: boolean;
  changed: (text: string) => void;
  /** Ask for what is wrong in a text. */
  lint: (text: string) => Promise<readonly Finding[]>;
}

export interface Editor {
  replace: (text: string) => void;
  /** Put the cursor at a line and column, both from 1. */
  go: (line: number, column: number) => void;
  allow: (writable: boolean) => void;
  destroy: () => void;
}

const LINT_DELAY_MS = 400;

const language = StreamLanguage.define<null>({
  token(stream) {
    if (stream.match(/[#!].*/)) return "comment";
    if (stream.match(/"[^"]*"?/)) return "string";
    if (stream.match(/[\w-]+(?=\s*\{)/)) return "keyword";
    if (stream.sol() || /^\s*$/.test(stream.string.slice(0, stream.pos))) {
      if (stream.match(/[\w-]+/)) return "propertyName";
    }
    stream.next();
    return null;
  },
  languageData: { commentTokens: { line: "#" } },
});

/** Chromium alone has it; without it, what follows is not needed either. */
type Root = ShadowRoot & { getSelection?: () => Selection | null };

/** Chromium styles what replaces a selection like that, by an attribute that the policy does not take. */
const replacing = EditorView.domEventHandlers({
  beforeinput(event, view) {
    if (event.inputType !== "insertText" || event.isComposing || !event.data || view.state.readOnly) return false;
    // what the browser has as selected: the editor may not have been told yet
    const selected = (view.root as Root).getSelection?.();
    if (!selected?.anchorNode || !selected.focusNode) return false;
    const anchor = view.posAtDOM(selected.anchorNode, selected.anchorOffset);
    const head = view.posAtDOM(selected.focusNode, selected.focusOffset);
    const [from, to] = [Math.min(anchor, head), Math.max(anchor, head)];
    if (from === to) return false;
    event.preventDefault();
    const insert = view.state.toText(event.data);
    const selection = { anchor: from + insert.length };
    view.dispatch({ changes: { from, to, insert }, selection, userEvent: "input.type", scrollIntoView: true });
    return true;
  },
});

const colours = HighlightStyle.define([
  { tag: tags.comment, color: "var(--text-dim)" },
  { tag: tags.keyword, color: "var(--accent)", fontWeight: "600" },
  { tag: tags.propertyName, color: "var(--accent)" },
]);

const theme = EditorView.theme({
  "&": { height: "100%", color: "var(--text)", backgroundColor: "var(--surface)", fontSize: "var(--text-m)" },
  "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "-2px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5" },
  ".cm-content": { caretColor: "var(--text)" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  ".cm-gutters": { backgroundColor: "var(--page)", color: "var(--text-dim)", borderRight: "1px solid var(--line)" },
  ".cm-activeLine": { backgroundColor: "transparent", boxShadow: "inset 2px 0 var(--accent)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    background: "var(--accent-soft)",
  },
  ".cm-tooltip": { backgroundColor: "var(--raised)", color: "var(--text)", border: "1px solid var(--line-strong)" },
  // what CodeMirror has for these are images in data: addresses, which the policy does not take
  ".cm-lintRange-error": { backgroundImage: "none", textDecoration: "underline wavy var(--failed)" },
  ".cm-lintRange-warning": { backgroundImage: "none", textDecoration: "underline wavy var(--degraded)" },
  ".cm-lint-marker": { content: "normal !important", textAlign: "center", fontWeight: "600" },
  ".cm-lint-marker-error::before": { content: "'✕'", color: "var(--failed)" },
  ".cm-lint-marker-warning::before": { content: "'▲'", color: "var(--degraded)" },
  ".cm-diagnostic": { whiteSpace: "pre-wrap", maxWidth: "30rem" },
});

export function editor({ host, text, label, writable, changed, lint }: Wanted): Editor {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  const access = new Compartment();
  const may = (writable: boolean) => [EditorState.readOnly.of(!writable)];
  const view = new EditorView({
    parent: root,
    root,
    state: EditorState.create({
      doc: text,
      extensions: [
        [lineNumbers(), lintGutter(), history(), drawSelection(), highlightActiveLine(), bracketMatching()],
        [language, syntaxHighlighting(colours), indentUnit.of("\t"), EditorState.tabSize.of(4)],
        [theme, replacing, EditorView.lineWrapping, access.of(may(writable))],
        keymap.of([...defaultKeymap, ...historyKeymap, ...lintKeymap, indentWithTab]),
        EditorView.contentAttributes.of({ "aria-label": label, spellcheck: "false" }),
        EditorView.updateListener.of((update) => update.docChanged && changed(update.state.doc.toString())),
        linter(async (at) => (await lint(at.state.doc.toString())).map((each) => diagnostic(at.state.doc, each)), {
          delay: LINT_DELAY_MS,
        }),
      ],
    }),
  });
  return {
    replace(next) {
      if (next === view.state.doc.toString()) return;
      const changes = { from: 0, to: view.state.doc.length, insert: next };
      // a step of its own: undoing it brings back what was typed just before, and not what was there before that
      view.dispatch({ changes, annotations: isolateHistory.of("full") });
    },
    go(line, column) {
      view.dispatch({ selection: { anchor: place(view.state.doc, line, column) }, scrollIntoView: true });
      view.focus();
    },
    allow: (next) => view.dispatch({ effects: access.reconfigure(may(next)) }),
    destroy: () => view.destroy(),
  };
}

function diagnostic(doc: Text, { line, column, severity, message, code }: Finding): Diagnostic {
  const from = place(doc, line, column);
  return { from, to: Math.max(from, doc.lineAt(from).to), severity, message, source: code };
}

/** Columns of findings count characters, those of the editor UTF-16. */
function place(doc: Text, line: number, column: number): number {
  const at = doc.line(Math.min(Math.max(1, line), doc.lines));
  return at.from + [...at.text].slice(0, column - 1).join("").length;
}
