/*
 * agent/cli/verbs/completion.c - completion: derived from the list of verbs.
 */
#include <string.h>

#include "agent/cli/out.h"
#include "agent/cli/verb.h"

/* True unless a verb before v in the list has the same first word. */
static bool is_first_of(const struct verb *const *list, const struct verb *v)
{
	size_t n = strcspn(v->name, " ");

	for (; *list != v; list++)
		if (strncmp((*list)->name, v->name, n) == 0 && strcspn((*list)->name, " ") == n)
			return false;
	return true;
}

static void put_first_words(const struct verb *const *list)
{
	for (const struct verb *const *v = list; *v != NULL; v++)
		if (is_first_of(list, *v))
			out_text("%.*s ", (int)strcspn((*v)->name, " "), (*v)->name);
}

/* For each first word of a two-word verb: before, the word, between, its second words, after. */
static void put_second_words(const struct verb *const *list, const char *before,
			     const char *between, const char *after)
{
	for (const struct verb *const *v = list; *v != NULL; v++) {
		const char *name = (*v)->name;
		const size_t n = strcspn(name, " ");

		if (name[n] == '\0' || !is_first_of(list, *v))
			continue;
		out_text("%s%.*s%s", before, (int)n, name, between);
		for (const struct verb *const *o = v; *o != NULL; o++)
			if (strncmp((*o)->name, name, n + 1) == 0)
				out_text("%s ", (*o)->name + n + 1);
		out_text("%s", after);
	}
}

/* For each verb: before, its name, between, its options, after. */
static void put_options(const struct verb *const *list, const char *before, const char *between,
			const char *after)
{
	for (; *list != NULL; list++) {
		const struct verb *v = *list;

		out_text("%s%s%s", before, v->name, between);
		for (size_t i = 0; i < OPTION_LISTS_MAX && v->options[i] != NULL; i++)
			for (const struct option *o = v->options[i]; o->name != NULL; o++)
				out_text("--%s ", o->name);
		out_text("--json --help%s", after);
	}
}

static void put_bash(const struct verb *const *list)
{
	out_text("# bash completion for sapair: source it, or install it for bash-completion\n"
		 "_sapair() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} words=''\n"
		 "\tlocal so_far=\"${COMP_WORDS[*]:1:COMP_CWORD-1}\"\n"
		 "\tcase $so_far in\n\t'') words='");
	put_first_words(list);
	out_text("' ;;\n");
	put_second_words(list, "\t\"", "\") words='", "' ;;\n");
	put_options(list, "\t\"", "\"*) words='", "' ;;\n");
	out_text("\tesac\n"
		 "\tcase $cur in\n\t-*) ;;\n\t*) case $words in --*) words='' ;; esac ;;\n\tesac\n"
		 "\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
		 "}\ncomplete -o default -F _sapair sapair\n");
}

static void put_zsh(const struct verb *const *list)
{
	out_text("#compdef sapair\n"
		 "# zsh completion for sapair: install it as _sapair in a directory of fpath\n"
		 "_sapair() {\n\tlocal list=''\n\tlocal so_far=\"${(j: :)words[2,CURRENT-1]}\"\n"
		 "\tcase $so_far in\n\t'') list='");
	put_first_words(list);
	out_text("' ;;\n");
	put_second_words(list, "\t\"", "\") list='", "' ;;\n");
	put_options(list, "\t\"", "\"*) list='", "' ;;\n");
	out_text("\tesac\n\tif [[ $list == --* && $PREFIX != -* ]]; then _files; "
		 "else compadd -- ${=list}; fi\n}\n_sapair \"$@\"\n");
}

static void put_quoted(const char *text)
{
	out_text("'");
	for (; *text != '\0'; text++)
		out_text("%s%c", *text == '\'' || *text == '\\' ? "\\" : "", *text);
	out_text("'\n");
}

static void put_fish_verb(const struct verb *v, bool is_first)
{
	const int n = (int)strcspn(v->name, " ");

	if (v->name[n] == '\0') {
		out_text("complete -c sapair -n __fish_use_subcommand -a '%s' -d ", v->name);
	} else {
		if (is_first)
			out_text("complete -c sapair -n __fish_use_subcommand -a '%.*s'\n", n,
				 v->name);
		out_text("complete -c sapair -n '__fish_seen_subcommand_from %.*s' -a '%s' -d ", n,
			 v->name, v->name + n + 1);
	}
	put_quoted(v->text);
	for (size_t i = 0; i < OPTION_LISTS_MAX && v->options[i] != NULL; i++)
		for (const struct option *o = v->options[i]; o->name != NULL; o++) {
			out_text("complete -c sapair -n '__fish_seen_subcommand_from %.*s' -l "
				 "%s%s -d ",
				 n, v->name, o->name, o->value != NULL ? " -r" : "");
			put_quoted(o->text);
		}
}

static void put_fish(const struct verb *const *list)
{
	out_text("# fish completion for sapair: install it as "
		 "~/.config/fish/completions/sapair.fish\n");
	for (const struct verb *const *v = list; *v != NULL; v++)
		put_fish_verb(*v, is_first_of(list, *v));
}

static void put_powershell(const struct verb *const *list)
{
	out_text("# PowerShell completion for sapair: dot-source it from $PROFILE\n"
		 "Register-ArgumentCompleter -Native -CommandName sapair -ScriptBlock {\n"
		 "\tparam($word, $ast, $at)\n"
		 "\t$table = [ordered]@{\n\t\t'' = '");
	put_first_words(list);
	out_text("'\n");
	put_second_words(list, "\t\t'", "' = '", "'\n");
	put_options(list, "\t\t'", "' = '", "'\n");
	out_text(
		"\t}\n"
		"\t$said = @($ast.CommandElements | Select-Object -Skip 1 | ForEach-Object { \"$_\" } |\n"
		"\t\tWhere-Object { $_ -ne $word })\n"
		"\t$key = @(($said | Select-Object -First 2) -join ' ', ($said | Select-Object -First 1), '') |\n"
		"\t\tWhere-Object { $table.Contains(\"$_\") } | Select-Object -First 1\n"
		"\t$table[\"$key\"].Trim() -split ' ' | Where-Object { $_ -like \"$word*\" }\n}\n");
}

static int run_completion(const struct args *a, struct err *e)
{
	static const struct {
		const char *name;
		void (*put)(const struct verb *const *list);
	} shells[] = {{"bash", put_bash},
		      {"zsh", put_zsh},
		      {"fish", put_fish},
		      {"powershell", put_powershell}};
	const char *name = args_word(a, 0);

	if (a->json)
		return err_set(e, ERR_USAGE, "completion: a shell script has no JSON form");
	for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
		if (strcmp(shells[i].name, name) != 0)
			continue;
		shells[i].put(a->verbs);
		return 0;
	}
	return err_set(e, ERR_USAGE,
		       "unknown shell \"%s\"; known are bash, zsh, fish and powershell", name);
}

const struct verb verb_completion = {
	.name = "completion",
	.words = "SHELL",
	.text = "print a completion script for bash, zsh, fish or powershell",
	.example = "sapair completion bash > /etc/bash_completion.d/sapair",
	.run = run_completion,
};
