"""REST: data sets, their manifests, and trainings on them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from astrid_site import datasets
from astrid_site.core.fields import ListQuery, read_query
from astrid_site.core.permissions import person
from detection.models import DataSet, TrainingRun
from detection.services import request_training
from detection.services.datasets import lacking, read_manifest
from detection.services.training import job_of


class DatasetOutput(serializers.ModelSerializer[DataSet]):
    """One version of a data set; without version and digest while it is being built."""

    lacks = serializers.SerializerMethodField(help_text="What is missing to learn from it.")

    class Meta:
        model = DataSet
        fields = (
            "id",
            "name",
            "version",
            "digest",
            "parameters",
            "counts",
            "changes",
            "file",
            "code_version",
            "lacks",
            "created_at",
        )

    def get_lacks(self, dataset: DataSet) -> list[str]:
        """Reasons in words; empty where it can be learnt from."""
        return lacking(dataset)


class DatasetInput(serializers.Serializer[Any]):
    """What to build: all verdicts as they are now, and simulated skies beside them."""

    name = serializers.CharField(max_length=60, default=datasets.DEFAULT_NAME)
    skies = serializers.IntegerField(
        min_value=0, max_value=datasets.MAX_SKIES, default=datasets.DEFAULT_SKIES
    )


class DatasetQuery(ListQuery):
    """Filters of the list of data sets."""

    name = serializers.CharField(required=False, max_length=60)


class DatasetList(generics.ListAPIView[DataSet]):
    """Data sets, newest first; posting asks for the next version."""

    required_permissions = {"GET": "detection.view_dataset", "POST": "detection.add_dataset"}
    serializer_class = DatasetOutput

    @extend_schema(parameters=[DatasetQuery])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One page of data sets."""
        return super().get(request, *args, **kwargs)

    @extend_schema(request=DatasetInput, responses={202: DatasetOutput})
    def post(self, request: Request) -> Response:
        """Queue a build; a job of kind build_dataset says how far it is."""
        asked = DatasetInput(data=request.data)
        asked.is_valid(raise_exception=True)
        told = asked.validated_data
        made = datasets.request_build(person(request), name=told["name"], n_skies=told["skies"])
        return Response(DatasetOutput(made).data, status=202)

    def get_queryset(self) -> QuerySet[DataSet]:
        """Apply the filters of the query string."""
        return DataSet.objects.filter(**read_query(DatasetQuery, self.request))


class DatasetDetail(generics.RetrieveAPIView[DataSet]):
    """One data set."""

    required_permissions = {"GET": "detection.view_dataset"}
    serializer_class = DatasetOutput
    queryset = DataSet.objects.all()


class DatasetManifest(APIView):
    """Every sample with its provenance, every one left out with its reasons."""

    required_permissions = {"GET": "detection.view_dataset"}

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, pk: UUID) -> Response:
        """The manifest as it is in the ZIP."""
        rows = DataSet.objects.filter(version__isnull=False).select_related("file")
        return Response(read_manifest(get_object_or_404(rows, pk=pk)))


class TrainingOutput(serializers.ModelSerializer[TrainingRun]):
    """One training with its epochs so far."""

    job = serializers.SerializerMethodField(help_text="Its row in the ledger of jobs.")

    class Meta:
        model = TrainingRun
        fields = (
            "id",
            "dataset",
            "start",
            "parameters",
            "history",
            "seconds",
            "energy_j",
            "energy_source",
            "model",
            "job",
            "code_version",
            "created_at",
        )

    def get_job(self, run: TrainingRun) -> UUID | None:
        """Its id."""
        job = job_of(run)
        return job.pk if job is not None else None


class TrainingInput(serializers.Serializer[Any]):
    """How to train: at most so many epochs a member."""

    epochs = serializers.IntegerField(min_value=1, max_value=100, default=12)
    seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, default=1)
    role = serializers.ChoiceField(choices=["challenger", "shadow"], default="challenger")


class DatasetTrain(APIView):
    """Trains the network on with a data set."""

    required_permissions = {"POST": "detection.add_trainingrun"}

    @extend_schema(request=TrainingInput, responses={202: TrainingOutput})
    def post(self, request: Request, pk: UUID) -> Response:
        """Queue a training."""
        asked = TrainingInput(data=request.data)
        asked.is_valid(raise_exception=True)
        dataset = get_object_or_404(DataSet, pk=pk)
        run = request_training(dataset, person(request), parameters=asked.validated_data)
        return Response(TrainingOutput(run).data, status=202)


class TrainingList(generics.ListAPIView[TrainingRun]):
    """Trainings, newest first."""

    required_permissions = {"GET": "detection.view_trainingrun"}
    serializer_class = TrainingOutput
    queryset = TrainingRun.objects.all()


class TrainingDetail(generics.RetrieveAPIView[TrainingRun]):
    """One training."""

    required_permissions = {"GET": "detection.view_trainingrun"}
    serializer_class = TrainingOutput
    queryset = TrainingRun.objects.all()
