"""What the domain's refusals promise to clients: codes that never change, a kind, and the field they are about."""

import inspect
from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType
from typing import get_type_hints

import pytest

import domain
from domain.commands import HANDLERS, AsCustomer, AsSuperAdmin, ChangeMetadata, NoteBulk, WithinLimits
from domain.kernel.refusal import Refusal

PROMISED = """
    CustomerNotFound             customer_not_found             not_found  customer
    CustomerAlreadyExists        customer_already_exists        conflict   -
    CustomerIsErased             customer_erased                conflict   customer
    CustomerIsDeleted            customer_deleted               conflict   customer
    ExternalIdTaken              external_id_taken              conflict   external_id
    NotCustomersCurrency         not_customers_currency         invalid    currency
    ProductNotFound              product_not_found              not_found  product
    ProductAlreadyExists         product_already_exists         conflict   -
    ProductIsArchived            product_archived               conflict   product
    PlanNotFound                 plan_not_found                 not_found  plan
    PlanAlreadyExists            plan_already_exists            conflict   -
    PlanIsArchived               plan_archived                  conflict   plan
    InvalidFeatures              invalid_features               invalid    features
    FeatureNotFound              feature_not_found              not_found  feature
    AddOnHasNoTrial              add_on_has_no_trial            invalid    trial_days
    TrialTooLong                 trial_too_long                 invalid    trial_days
    PriceNotFound                price_not_found                not_found  price
    PriceAlreadyExists           price_already_exists           conflict   -
    PriceIsArchived              price_archived                 conflict   price
    PriceModelNotBillable        price_model_not_billable       invalid    model
    MeteredPriceInAdvance        metered_price_in_advance       invalid    timing
    MeteredPriceHasNoQuantity    metered_price_has_no_quantity  invalid    items
    MeterTwice                   meter_twice                    invalid    items
    InvalidUsageThreshold        invalid_usage_threshold        invalid    usage_threshold
    NoUsageToBill                no_usage_to_bill               conflict   -
    MeterIsBilled                meter_billed_already           conflict   items
    MeterIsBilledThere           meter_billed_by_other_customer conflict   customer
    InvoiceAwaitsNoUsage         invoice_awaits_no_usage        conflict   -
    UsageNotOfInvoice            usage_not_of_invoice           conflict   -
    SubscriptionNotFound         subscription_not_found         not_found  subscription
    SubscriptionAlreadyExists    subscription_already_exists    conflict   -
    SubscriptionIsCanceled       subscription_canceled          conflict   -
    SubscriptionIsOverdue        subscription_overdue           conflict   -
    CancellationNotAhead         cancellation_not_ahead         invalid    cancel_at
    ContradictoryCancellation    contradictory_cancellation     invalid    cancel_at
    NothingUpcoming              nothing_upcoming               conflict   -
    NothingChanges               nothing_changes                invalid    items
    PriceNotSubscribed           price_not_subscribed           invalid    remove
    SubscriptionIsPaused         subscription_paused            conflict   -
    ChangeIsScheduled            change_scheduled               conflict   -
    NoChangeScheduled            no_change_scheduled            conflict   -
    ChangeNotAhead               change_not_ahead               invalid    effective_at
    ContradictoryChange          contradictory_change           invalid    effective_at
    PlanMigrationNotFound        plan_migration_not_found       not_found  plan_migration
    PlanMigrationAlreadyExists   plan_migration_already_exists  conflict   -
    PlanMigrationIsRunning       plan_migration_running         conflict   -
    PlanMigrationIsOver          plan_migration_over            conflict   -
    UnknownPlanVersion           unknown_plan_version           invalid    from_version
    ContradictoryReplacement     contradictory_replacement      invalid    prices
    PlanHasNewerVersion          plan_has_newer_version         conflict   -
    SuccessorIsAmbiguous         successor_ambiguous            conflict   -
    NoSuccessor                  no_successor                   conflict   -
    IntervalIsMixed              interval_mixed                 conflict   -
    LeftPlan                     subscription_left_plan         conflict   -
    BillingDateNotMovable        billing_date_not_movable       conflict   -
    TooMuchWaits                 too_much_waits                 conflict   proration
    SubscriptionNotPausable      subscription_not_pausable      conflict   -
    SubscriptionNotPaused        subscription_not_paused        conflict   -
    ResumptionNotAhead           resumption_not_ahead           invalid    resumes_at
    SubscriptionNotSuspendable   subscription_not_suspendable   conflict   -
    SubscriptionNotSuspended     subscription_not_suspended     conflict   -
    StartTooFarBack              start_too_far_back             invalid    starts_at
    SubscriptionNotTrialing      subscription_not_trialing      conflict   -
    TrialNotExtended             trial_not_extended             invalid    trial_end
    CancellationIsScheduled      cancellation_scheduled         conflict   -
    TransferToSameCustomer       transfer_to_same_customer      invalid    customer
    TransferToOtherClock         transfer_to_other_clock        conflict   customer
    ContradictoryTransfer        contradictory_transfer         invalid    credit_unused
    SubscriptionNotTransferable  subscription_not_transferable  conflict   -
    NoCancellationScheduled      no_cancellation_scheduled      conflict   -
    RenewalNotDue                renewal_not_due                conflict   -
    PeriodIsBilled               period_already_billed          conflict   -
    InvalidSubscriptionItems     invalid_subscription_items     invalid    items
    PlanIsAddOn                  plan_is_add_on                 invalid    plan
    OnlyAddOns                   only_add_ons                   invalid    items
    PriceOfAnotherPlan           price_of_another_plan          invalid    items
    DuplicatePrice               duplicate_price                invalid    items
    FlatPriceHasNoQuantity       flat_price_has_no_quantity     invalid    items
    IntervalsDoNotNest           intervals_do_not_nest          invalid    items
    InvoiceNotFound              invoice_not_found              not_found  invoice
    InvoiceAlreadyExists         invoice_already_exists         conflict   -
    InvoiceNotDraft              invoice_not_draft              conflict   -
    InvoiceNotOpen               invoice_not_open               conflict   -
    InvoiceCannotBeVoided        invoice_not_voidable           conflict   -
    InvoiceIsPartlyPaid          invoice_partly_paid            conflict   -
    InvoiceNotCollectible        invoice_not_collectible        conflict   -
    InvalidInvoiceLines          invalid_invoice_lines          invalid    lines
    ImportedNumberTaken          imported_number_taken          conflict   number
    NumberOfSeries               imported_number_of_series      conflict   number
    CustomerIsUnsettled          customer_unsettled             conflict   leave_unsettled
    NotYet                       imported_from_the_future       invalid    -
    PaidAboveDue                 imported_payment_above_due     invalid    -
    InvoiceNotImported           invoice_not_imported           conflict   -
    OtherRefused                 other_refused                  conflict   -
    InvalidLinePeriod            invalid_line_period            invalid    lines
    PaymentMethodDeclined        payment_method_declined        invalid    token
    PaymentMethodTypeMismatch    payment_method_type_mismatch   invalid    type
    NoPaymentMethod              no_payment_method              conflict   payment_method
    PaymentMethodNotFound        payment_method_not_found       not_found  payment_method
    PaymentMethodAlreadyExists   payment_method_already_exists  conflict   -
    PaymentMethodIsDetached      payment_method_detached        conflict   payment_method
    PaymentNotFound              payment_not_found              not_found  payment
    PaymentAlreadyExists         payment_already_exists         conflict   -
    PaymentNotConfirmable        payment_not_confirmable        conflict   -
    PaymentNotCancelable         payment_not_cancelable         conflict   -
    PaymentAttemptIsOver         payment_attempt_over           conflict   -
    InvoiceHasLivePayment        invoice_payment_in_progress    conflict   invoice
    InvalidPaymentAmount         invalid_payment_amount         invalid    amount
    PaymentNotRefundable         payment_not_refundable         conflict   payment
    RefundExceedsPayment         refund_exceeds_payment         conflict   amount
    InvalidRefundAmount          invalid_refund_amount          invalid    amount
    RefundAlreadyExists          refund_already_exists          conflict   -
    RefundNotFound               refund_not_found               not_found  refund
    GatewayRefundTaken           gateway_refund_taken           conflict   gateway_refund_id
    InvalidGatewayRefundId       invalid_gateway_refund_id      invalid    gateway_refund_id
    InvalidEvidence              invalid_evidence               invalid    evidence
    RefundIsOver                 refund_over                    conflict   -
    JournalEntryNotFound         journal_entry_not_found        not_found  entry
    JournalEntryAlreadyExists    journal_entry_already_exists   conflict   -
    JournalEntryIsReversed       journal_entry_reversed         conflict   -
    InvalidJournalEntry          invalid_journal_entry          invalid    postings
    IsControlAccount             control_account                invalid    postings
    TestClockNotFound            test_clock_not_found           not_found  test_clock
    TestClockAlreadyExists       test_clock_already_exists      conflict   -
    TestClockInLiveTenant        test_clock_in_live_tenant      conflict   -
    TestClockIsDeleted           test_clock_deleted             conflict   test_clock
    TestClockNotDeleting         test_clock_not_deleting        conflict   -
    TestClockBusy                test_clock_advancing           conflict   -
    TestClockGoesForward         test_clock_not_forward         invalid    frozen_time
    TestClockNotAdvancing        test_clock_not_advancing       conflict   -
    UnbalancedEntry              unbalanced_entry               invalid    postings
    UnknownAccount               unknown_account                invalid    account
    MeterNotFound                meter_not_found                not_found  meter
    MeterAlreadyExists           meter_already_exists           conflict   -
    MeterIsArchived              meter_archived                 conflict   meter
    MeterCodeTaken               meter_code_taken               conflict   code
    InvalidMeter                 invalid_meter                  invalid    aggregation
    MeterVersionNotAhead         meter_version_not_ahead        invalid    effective_from
    MeterKeepsGroups             meter_keeps_groups             invalid    group_by
    TooManyMeterVersions         too_many_meter_versions        conflict   -
    UsageAlertNotFound           usage_alert_not_found          not_found  usage_alert
    UsageAlertAlreadyExists      usage_alert_already_exists     conflict   -
    UsageAlertIsArchived         usage_alert_archived           conflict   -
    InvalidUsageAlert            invalid_usage_alert            invalid    thresholds
    TriggeredAlertNotFound       triggered_alert_not_found      not_found  triggered_alert
    EntitlementNotMetered        entitlement_not_metered        conflict   feature
    EntitlementNotResettable     entitlement_not_resettable     conflict   feature
    TooManyMetadataKeys          too_many_metadata_keys         invalid    metadata
    InvalidDunningSchedule       invalid_dunning_schedule       invalid    -
    CreditExceedsLine            credit_exceeds_line            conflict   amount
    NothingToCredit              nothing_to_credit              invalid    amount
    CreditNoteNotFound           credit_note_not_found          not_found  credit_note
    CreditNoteAlreadyExists      credit_note_already_exists     conflict   -
    InvoiceNotCreditable         invoice_not_creditable         conflict   invoice
    InvoiceLineNotFound          invoice_line_not_found         invalid    lines
    InvalidCredit                invalid_credit                 invalid    lines
    CreditExceedsInvoice         credit_exceeds_invoice         conflict   amount
    CreditAlreadyRefunded        credit_already_refunded        conflict   amount
    BalanceTooLow                balance_too_low                conflict   amount
    NotPaidOutByThis             not_paid_out_by_this           conflict   payment
    NothingToReopen              nothing_to_reopen              conflict   treatment
    ReopensMoreThanPaid          reopens_more_than_paid         conflict   amount
    NothingToRefund              nothing_to_refund              conflict   give_back
    TooManyCreditNotes           too_many_credit_notes          conflict   invoice
    CreditNoteNotVoidable        credit_note_not_voidable       conflict   -
    InvoiceIsCredited            invoice_credited               conflict   -
    InvoiceIsRatedAgain          invoice_rated_again            conflict   -
    NotPaidOutOfBand             not_paid_out_of_band           conflict   amount
    SurplusIsSpent               surplus_spent                  conflict   amount
    NothingToApply               nothing_to_apply               conflict   -
    InvalidExchangeRate          invalid_exchange_rate          invalid    rate
    NegativeRecurringRevenue     negative_recurring_revenue     invalid    -
    InvalidServicePeriod         invalid_service_period         invalid    -
    CreditExceedsRevenue         credit_exceeds_revenue         conflict   -
    CreditOutOfOrder             credit_out_of_order            conflict   -
    OutsidePeriod                outside_period                 invalid    effective_at
    AnchorMustBeReset            anchor_must_be_reset           invalid    reset_anchor
    InvalidInterval              invalid_interval               invalid    interval
    UnknownTimeZone              unknown_time_zone              invalid    time_zone
    InvalidAnchor                invalid_anchor                 invalid    billing_anchor
    BeyondCalendar               beyond_calendar                invalid    -
    UnknownCurrency              unknown_currency               invalid    currency
    NotRoundable                 not_roundable                  invalid    -
    CurrencyMismatch             currency_mismatch              invalid    currency
    InvalidAmount                invalid_amount                 invalid    amount
    InvalidWeights               invalid_weights                invalid    -
    NoPriceInCurrency            no_price_in_currency           invalid    currency
    InvalidQuantity              invalid_quantity               invalid    quantity
    WrongMeasure                 wrong_measure                  invalid    quantity
    InvalidPrice                 invalid_price                  invalid    model
    InvalidTierTable             invalid_tier_table             invalid    tiers
    NoTiers                      no_tiers                       invalid    tiers
    TierDoesNotStartAtZero       tier_does_not_start_at_zero    invalid    tiers
    TierGap                      tier_gap                       invalid    tiers
    TierOverlap                  tier_overlap                   invalid    tiers
    EmptyTier                    empty_tier                     invalid    tiers
    TierWithoutEndBeforeLast     tier_without_end_before_last   invalid    tiers
    LastTierHasEnd               last_tier_has_end              invalid    tiers
    UnknownLocale                unknown_locale                 invalid    locale
    InvalidSeller                invalid_seller                 invalid    seller
    InvalidInvoiceTerms          invalid_invoice_terms          invalid    -
    InvoiceItemNotFound          invoice_item_not_found         not_found  item
    InvoiceItemIsSubscriptions   invoice_item_of_subscription   conflict   item
    WaitingItemNotFound          waiting_item_not_found         not_found  item
    TooManyWaitingItems          too_many_waiting_items         conflict   -
    ContradictoryAnchor          contradictory_anchor           invalid    billing_anchor
    TooManyBilledTogether        too_many_billed_together       conflict   billed_together
    InvalidNumberSeries          invalid_number_series          invalid    number_series
    NumberSeriesKept             number_series_kept             invalid    number_series
    NumberSeriesOverlap          number_series_overlap          invalid    number_series
    NumberSeriesImported         number_series_imported         invalid    number_series
    UnknownNumberSeries          unknown_number_series          invalid    series
    InvalidTaxLocation           invalid_tax_location           invalid    address
    TaxRateNotFound              tax_rate_not_found             not_found  tax_rate
    TaxRegistrationNotFound      tax_registration_not_found     not_found  tax_registration
    TaxAnswerUnfit               tax_answer_unfit               conflict   -
    InvoiceAwaitsNoTax           invoice_awaits_no_tax          conflict   -
    TaxSettingsNotFound          tax_settings_not_found         not_found  tax_settings
    InvalidTaxRate               invalid_tax_rate               invalid    percent
    TaxRateIsTaken               tax_rate_taken                 conflict   valid_from
    TooManyTaxRates              too_many_tax_rates             conflict   -
    TaxRateInUse                 tax_rate_in_use                conflict   -
    SellerCountryUnknown         seller_country_unknown         conflict   seller_country
    NoGeneralTaxRate             no_general_tax_rate            conflict   valid_from
    TaxRegistrationOverlaps      tax_registration_overlaps      conflict   valid_from
    TooManyTaxRegistrations      too_many_tax_registrations     conflict   -
    TaxRegistrationIsEnded       tax_registration_ended         conflict   -
    InvalidTaxRegistrationEnd    invalid_tax_registration_end   invalid    valid_until
    InvalidCoupon                invalid_coupon                 invalid    coupon
    CouponExhausted              coupon_exhausted               conflict   coupon
    CouponExpired                coupon_expired                 conflict   coupon
    CouponInOtherCurrency        coupon_in_other_currency       conflict   coupon
    CouponNotFound               coupon_not_found               not_found  coupon
    CouponAlreadyExists          coupon_already_exists          conflict   -
    CouponIsArchived             coupon_archived                conflict   coupon
    CouponIsDeleted              coupon_deleted                 conflict   coupon
    CouponInUse                  coupon_in_use                  conflict   -
    ProductInUse                 product_in_use                 conflict   -
    PlanInUse                    plan_in_use                    conflict   -
    PriceInUse                   price_in_use                   conflict   -
    CouponAlreadyApplied         coupon_already_applied         conflict   coupon
    TooManyDiscounts             too_many_discounts             conflict   coupon
    AmbiguousDiscount            ambiguous_discount             invalid    customer
    DiscountNotFound             discount_not_found             not_found  discount
    DiscountAlreadyExists        discount_already_exists        conflict   -
    DiscountHasEnded             discount_ended                 conflict   -
    InvalidGrant                 invalid_credit_grant           invalid    credits
    InvalidPassword              invalid_password               invalid    password
    WeakPassword                 weak_password                  invalid    password
    BasisNeedsMonths             basis_needs_months             invalid    proration_basis
    TenantNotFound               tenant_not_found               not_found  tenant
    TenantAlreadyExists          tenant_already_exists          conflict   -
    TenantIdReserved             tenant_id_reserved             invalid    tenant
    TenantNotEntered             tenant_not_entered             forbidden  tenant
    AnotherTenantEntered         another_tenant_entered         conflict   tenant
    ApiKeyNotFound               api_key_not_found              not_found  api_key
    ApiKeyAlreadyExists          api_key_already_exists         conflict   -
    ApiKeyIsOver                 api_key_over                   conflict   api_key
    ApiKeyIsRotated              api_key_rotated                conflict   api_key
    InvalidApiKeyTerms           invalid_api_key_terms          invalid    -
    InvalidOverlap               invalid_overlap                invalid    overlap
    TeamNotFound                 team_not_found                 not_found  tenant
    TeamNeedsAdmin               team_needs_admin               conflict   -
    NotAllowed                   not_allowed                    forbidden  -
    NotSuperAdmin                not_super_admin                forbidden  -
    GrantsTooMuch                grants_too_much                forbidden  -
    OwnRole                      own_role                       conflict   user
    NotARoleOfTeams              not_a_role_of_teams            invalid    role
    MemberNotFound               member_not_found               not_found  user
    AlreadyMember                already_member                 conflict   user
    TeamIsFull                   team_full                      conflict   -
    InvitationNotFound           invitation_not_found           not_found  invitation
    InvitationAlreadyExists      invitation_already_exists      conflict   -
    InvitationResentTooOften     invitation_resent_too_often    conflict   invitation
    InvitationExpired            invitation_expired             conflict   invitation
    InvalidInvitationExpiry      invalid_invitation_expiry      invalid    expires_at
    UserNotFound                 user_not_found                 not_found  user
    UserAlreadyExists            user_already_exists            conflict   -
    UserIsErased                 user_erased                    conflict   user
    SessionNotFound              session_not_found              not_found  session
    SessionAlreadyExists         session_already_exists         conflict   -
ApprovalAlreadyExists        approval_already_exists        conflict   -
ApprovalIsOver               approval_over                  conflict   -
ApprovalNeedsPerson          approval_needs_person          conflict   -
ApprovalNotFound             approval_not_found             not_found  approval
ApprovalRequired             approval_required              conflict   -
InvalidApprovalLimits        invalid_approval_limits        invalid    limits
InvalidApprovalRequest       invalid_approval_request       invalid    -
NotTheRequester              not_the_requester              conflict   -
OwnApproval                  own_approval                   conflict   -
SecondFactorAlreadyExists second_factor_already_exists conflict -
SecondFactorNotFound second_factor_not_found not_found second_factor
TooManySecondFactors too_many_second_factors conflict -
SubjectAlreadyLinked subject_already_linked conflict subject
LinkNotFound identity_link_not_found not_found identity_link
LinkAlreadyExists identity_link_already_exists conflict -
TooManyLinks too_many_identity_links conflict -
    UserMayNotSignIn             user_may_not_sign_in           conflict   user
"""

MODULES = [import_module(module.name) for module in walk_packages(domain.__path__, "domain.")]
CONTEXTS = [module for module in MODULES if module.__name__.count(".") > 1 and module.__name__.endswith("commands")]


def refusals(base: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    for refusal in base.__subclasses__():
        if refusal.__module__.startswith("domain."):
            yield refusal
        yield from refusals(refusal)


def test_codes_kinds_and_fields_are_as_promised() -> None:
    promised = {name: tuple(rest) for name, *rest in (row.split() for row in PROMISED.strip().splitlines())}
    actual = {refusal.__name__: (refusal.code, refusal.kind.value, refusal.param or "-") for refusal in refusals()}
    assert actual == promised


def test_a_refusal_says_in_a_sentence_what_is_wrong() -> None:
    for refusal in refusals():
        summary = (inspect.getdoc(refusal) or "").splitlines()[0]
        assert summary.endswith("."), refusal
        assert refusal(amount=5, none=None).describe() == f"{summary} (amount=5)"


@pytest.mark.parametrize("context", CONTEXTS, ids=lambda context: context.__name__)
def test_every_command_is_listed_with_the_function_that_decides_it(context: ModuleType) -> None:
    deciders = {
        get_type_hints(function)["command"]: function
        for name, function in inspect.getmembers(context, inspect.isfunction)
        if not name.startswith("_") and list(inspect.signature(function).parameters) == ["command", "streams", "now"]
    }
    assert deciders == context.HANDLERS


def test_the_handlers_are_those_of_all_contexts_and_of_metadata_and_of_customers_themselves() -> None:
    assert set(HANDLERS) == {command for context in CONTEXTS for command in context.HANDLERS} | {
        ChangeMetadata,
        AsCustomer,
        AsSuperAdmin,
        WithinLimits,
        NoteBulk,
    }
