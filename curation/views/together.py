"""The page of what people say together."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from astrid_site.accounts.people import signed_in
from astrid_site.core.errors import ApplicationError
from curation import services
from curation.forms import RuleForm
from curation.pages.together import together_page


@login_required
@permission_required("curation.view_verdict", raise_exception=True)
@require_GET
def overview(request: HttpRequest) -> HttpResponse:
    """How far people agree, where they do not, and the rule that tells it."""
    return _page(request, RuleForm.of_current())


@login_required
@permission_required("curation.add_consensusrule", raise_exception=True)
@require_POST
def make_rule(request: HttpRequest) -> HttpResponse:
    """Let another rule count from now on."""
    form = RuleForm(request.POST)
    if not form.is_valid():
        return _page(request, form, status=422)
    try:
        services.make_rule(signed_in(request), **form.cleaned_data)
    except ApplicationError as error:
        form.add_error(None, str(error))
        return _page(request, form, status=422)
    messages.success(request, "The rule counts from now on; all answers are looked at anew.")
    return redirect("curation:together")


def _page(request: HttpRequest, form: RuleForm, *, status: int = 200) -> HttpResponse:
    context = {
        "section": "vet",
        "page": together_page(cursor=request.GET.get("cursor", "")),
        "form": form,
    }
    return render(request, "curation/together.html", context, status=status)
